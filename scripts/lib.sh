# What demo, test and bench share: installing what is missing. Sourced by them, from the project's top.

step() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

# The first interpreter of the versions named (newest wish first) that is there and has venv.
find_python() {
  local version python
  for version in "$@"; do
    for python in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python "/usr/bin/python$version"; do
      if "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        printf '%s\n' "$python"
        return 0
      fi
    done
  done
  return 1
}

# Debian packages that are missing: installed when root, else the command is named and we go on.
system_packages() {
  local missing=() package
  command -v apt-get >/dev/null || return 0
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || command -v "$package" >/dev/null || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ]; then
    step "installing ${missing[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2
  else
    echo "missing: ${missing[*]}; to have them: sudo apt-get install ${missing[*]}" >&2
  fi
}

# make_venv DIR EXTRA...: this project, editable, with extras, at the versions that were tested.
make_venv() {
  local dir=$1 python stamp want
  shift
  python=$(find_python 3.12 3.13 3.11) || {
    echo "error: no Python 3.11, 3.12 or 3.13 here" >&2
    echo "hint: sudo apt-get install python3 python3-venv" >&2
    exit 3
  }
  want="$(cat pyproject.toml scripts/constraints.txt | sha256sum | cut -d' ' -f1) $*"
  stamp=$dir/.gitdags-installed
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  "$python" -c 'import ensurepip' 2>/dev/null || system_packages python3-venv
  step "installing gitdags[$(IFS=,; echo "$*")] into $dir"
  [ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
  pip_install "$dir" -c scripts/constraints.txt -e ".[$(IFS=,; echo "$*")]"
  printf '%s' "$want" > "$stamp"
}

# make_airflow_2 DIR PYTHON: Airflow 2.11 alone, to parse with; gitdags is not installed there.
make_airflow_2() {
  local dir=$1
  [ -f "$dir/.gitdags-installed" ] && return 0
  step "installing Airflow 2.11 into $dir"
  "$2" -m venv "$dir"
  pip_install "$dir" -c scripts/constraints-airflow-2.11.txt apache-airflow==2.11.0
  touch "$dir/.gitdags-installed"
}

pip_install() {
  local dir=$1
  shift
  "$dir/bin/python" -m pip install -q --disable-pip-version-check "$@" 2> >(grep -v '^WARNING: Location' >&2)
}
