"""Robotics: a student drives a robot, observation by observation, inside a safety envelope that it cannot leave."""
