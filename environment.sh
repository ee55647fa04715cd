# Sourced by demo.sh and test.sh: makes .venv with everything in requirements.txt when it is
# missing, unfinished or older than the requirements.
if [ ! -e .venv/complete ] || [ requirements.txt -nt .venv/complete ] || [ pyproject.toml -nt .venv/complete ]; then
  echo "Installing into .venv (torch is large: a few minutes on a slow line) ..."
  if command -v uv >/dev/null; then
    uv venv --quiet --allow-existing .venv
    uv pip install --quiet --python .venv/bin/python -r requirements.txt -e .
  else
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet -r requirements.txt -e .
  fi
  touch .venv/complete
fi
