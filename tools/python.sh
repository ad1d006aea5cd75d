# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts, in the checkout's root: the Python of .venv when setup.sh had to make one.
if [ -x .venv/bin/python3 ]; then
  export PATH="$PWD/.venv/bin:$PATH" VIRTUAL_ENV="$PWD/.venv"
fi
