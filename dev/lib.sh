# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it
# Where commands run that need PHP: on the machine itself, or in a root that is built once.
#
# Owns: the choice between the two (mode), the place and the name of the root.
# Leaves to others: building the root (dev/setup), running in it (dev/run).
# Assumes: bash ≥ 4.4, sourced with `set -euo pipefail`. It starts no process before it must, because
# it is read again for every command that dev/run runs.

checkout=$(cd -P "${BASH_SOURCE[0]%/*}/.." && pwd)

# The Debian suite of the root, and a number to raise when dev/setup builds the same packages differently.
root_suite=forky
root_version=1

# rustup's place, for shells that were not told about it.
PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

say() { printf 'dev: %s\n' "$*" >&2; }

# 64 is EX_USAGE, 69 EX_UNAVAILABLE: what is missing is told apart from what failed.
die() {
    local code=$1
    shift
    printf 'dev: %s\n' "$@" >&2
    exit "$code"
}

# Sets `cache` and `root`. The name of the root is a hash of all that decides what is in it.
locate_root() {
    cache=${FANFARE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/fanfare}
    [[ $cache == /* ]] || die 64 "FANFARE_CACHE: expected an absolute path, found '$cache'."
    local hash
    hash=$({
        printf '%s\n' "$root_suite" "$root_version" "$HOSTTYPE"
        cat "$checkout/dev/root.packages" "$checkout/dev/composer-repositories.php"
    } | sha256sum)
    root=$cache/root-${hash:0:12}
}

# True inside the root: what runs there is already where it has to be.
inside_root() { [[ -e /etc/fanfare-root ]]; }

# Sets `libclang` to the directory of a libclang that has clang's own headers beside it.
find_libclang() {
    local directory headers
    for directory in "${LIBCLANG_PATH:-}" /usr/lib/llvm-*/lib /usr/lib64 /usr/lib; do
        [[ -n $directory && -n $(compgen -G "$directory/libclang*.so*") ]] || continue
        headers=$(compgen -G "$directory/clang/*/include/stddef.h" | head -n 1 || true)
        [[ -n $headers ]] || continue
        libclang=$directory
        return 0
    done
    return 1
}

# Fills `found` and `missing` with what the machine has of the things that PHP work needs.
inspect_machine() {
    found=() missing=() libclang=
    local tool report
    for tool in php php-config phpize composer node npm cc; do
        if report=$(command -v "$tool"); then found+=("$tool ($report)"); else missing+=("$tool"); fi
    done
    if find_libclang; then found+=("libclang ($libclang)"); else missing+=("libclang with clang's headers"); fi
    command -v php >/dev/null || return 0
    # One start of PHP answers for its version and its extensions.
    # shellcheck disable=SC2016 # the dollar signs are PHP's
    report=$(php -r '
        if (PHP_VERSION_ID < 80300) { echo "PHP ≥ 8.3 (found ", PHP_VERSION, ")\n"; }
        foreach (["ctype","curl","dom","fileinfo","filter","mbstring","openssl","pcntl","pdo_sqlite","posix","session","tokenizer"] as $e) {
            if (!extension_loaded($e)) { echo "PHP extension $e\n"; }
        }' 2>/dev/null) || report="a php that starts"
    [[ -z $report ]] || mapfile -t -O "${#missing[@]}" missing <<<"$report"
}

# True when a root can be built and entered here; `no_root` says why not.
root_possible() {
    no_root=
    if ((EUID != 0)); then
        no_root="it needs root rights (mounts in a namespace of their own)"
    elif ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        no_root="it needs Debian's apt and dpkg on this machine"
    elif ! unshare --mount true 2>/dev/null; then
        no_root="mount namespaces are not permitted here (a container needs --privileged)"
    fi
    [[ -z $no_root ]]
}

# Sets `mode` to machine or root and `why` to the reason.
choose_mode() {
    why=
    case ${FANFARE_DEV:-} in
    machine | root)
        mode=$FANFARE_DEV why="FANFARE_DEV=$FANFARE_DEV asks for it"
        return
        ;;
    '') ;;
    *) die 64 "FANFARE_DEV: expected machine or root, found '$FANFARE_DEV'." ;;
    esac
    # Without php there is nothing more to look at: this is the common case, and it starts no process.
    if ! command -v php >/dev/null; then
        mode=root why="this machine has no php"
        return
    fi
    inspect_machine
    if ((${#missing[@]} == 0)); then
        mode=machine why="this machine has all that is needed"
    else
        mode=root why="this machine lacks: $(in_one_line ', ' "${missing[@]}")"
    fi
}

in_one_line() {
    local separator=$1 first=$2
    shift 2
    printf '%s' "$first" "${@/#/$separator}"
}

# What every command gets, in both modes. PHP reads the ini of the built extension after its own files
# (the empty first entry); a directory that is not there yet is no mistake to it.
export_php_environment() {
    export PHP_INI_SCAN_DIR=":$checkout/target/php.d"
    export PHP PHP_CONFIG
    PHP=$(command -v php || true)
    PHP_CONFIG=$(command -v php-config || true)
}
