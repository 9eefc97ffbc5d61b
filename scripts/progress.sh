# What the scripts here say while they work: sourced by them, in POSIX sh. All of it goes to stderr.
#
# `watched` expects the path of the log in `log`, and leaves the time and the exit status in `began` and `status`.

say() {
    echo "mreactor: $*" >&2
}

die() {
    say "$@"
    exit 1
}

# watched LABEL COMMAND...
#
# Runs the command with its output in the log, shows that it runs and how long it took. Its exit status is left in
# `status`, not returned: a function called in a condition would have `set -e` switched off in all that it calls,
# and a step made of several commands has to stop at the first that fails.
watched() {
    label=$1
    shift
    echo "== $label" >>"$log"
    began=$(date +%s)
    start_ticker
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM HUP
    trap stop_ticker EXIT
    set +e
    (set -e && "$@") >>"$log" 2>&1 </dev/null
    status=$?
    set -e
    stop_ticker
    trap - INT TERM HUP EXIT
    [ "$status" -ne 0 ] || say "$label: $(elapsed)"
}

# Starts before any trap is set: a shell that has just been forked drops a signal for which it inherited a trap, and
# a ticker that does not hear that it shall end is waited for forever. Descriptor 9 may hold a lock, not the ticker's.
start_ticker() {
    [ -t 2 ] || say "$label"
    tick 9>&- &
    ticker=$!
}

# On a terminal a line that counts the seconds, elsewhere one line a minute. Ends with the script, however that ends.
tick() {
    while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        if [ -t 2 ]; then
            printf '\r\033[Kmreactor: %s ... %s' "$label" "$(elapsed)" >&2
        elif [ $((($(date +%s) - began) % 60)) -eq 0 ]; then
            say "$label: $(elapsed) so far"
        fi
    done
}

stop_ticker() {
    [ -n "${ticker:-}" ] || return 0
    kill "$ticker" 2>/dev/null || :
    wait "$ticker" 2>/dev/null || :
    ticker=''
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

interrupted() {
    stop_ticker
    say "interrupted ($label); nothing is left half made, the same command starts over"
    trap - EXIT
    exit "$1"
}

# Time since the watched command began, as people write it.
elapsed() {
    duration $(($(date +%s) - began))
}

duration() {
    if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}
