import subprocess
import sys


def test_the_worker_package_imports_without_torch_grpc_or_sql() -> None:
    code = (
        "import sys, seodang.worker, seodang.worker.messages, seodang.worker.host;"
        "heavy = {'torch', 'transformers', 'grpc', 'sqlalchemy', 'fastapi'} & set(sys.modules);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
