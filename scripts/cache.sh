# Where interpreters are kept, and how one is built there: sourced by the scripts here, in POSIX sh, after progress.sh.
#
# Expects in `here` the folder of the scripts. The cache is in `cache`, the interpreter in it `built`.

# The patch release of 3.13 that Debian's archive had when these scripts were last looked at.
readonly NEWEST_PATCH=15
# Where scripts/install-python3.13t puts an interpreter for all users. MREACTOR_ROOT stands before it in tests and images.
readonly SYSTEM=${MREACTOR_ROOT:-}/opt/mreactor

locate_cache() {
    case ${XDG_CACHE_HOME:-} in
        /*) use_cache "$XDG_CACHE_HOME/mreactor" ;;
        *) use_cache "${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache/mreactor" ;;
    esac
}

use_cache() {
    cache=$1
    built=$cache/python3.13t
    log=$cache/build.log
}

# The lock is held by descriptor 9: it is free when this process, and whatever it started, has gone.
#
# take_lock [WHAT TO DO IF THE CACHE CANNOT BE WRITTEN]
take_lock() {
    case $cache in
        *[[:space:]]*) die "Python cannot be built in $cache, there is a space in it; set XDG_CACHE_HOME" ;;
    esac
    mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] ||
        die "$cache cannot be written; ${1:-set XDG_CACHE_HOME to a folder that can be}"
    exec 9>"$cache/lock"
    flock -n 9 && return 0
    say "another run is getting the interpreter; waiting for it (its log: $log)"
    flock 9
}

# An interruption is for the build to tell of; its exit status then ends the script that called this.
build() {
    trap : INT TERM HUP
    "$here/build-python3.13t" "$built" "$cache/build" "$log"
    trap - INT TERM HUP
}
