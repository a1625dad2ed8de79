"""The door for programs that send by SMTP: log-in with an API key, messages accepted as everywhere else."""
