"""Workers on a cluster, as TrainJobs of Kubeflow Trainer."""
