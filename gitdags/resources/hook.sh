#!/bin/sh
# gitdags hook 5d0f6c1a: tells gitdags which refs moved (gitdags hooks status).
# It fails no Git command and waits for nothing. `gitdags hooks uninstall` takes it out again.

hook=@HOOK@
here=${0%/*}
box=$here/@BOX@
python=@PYTHON@
other=@OTHER@ # the hook that stood here before, or stands where core.hooksPath led

# Which worktree this is: HEAD of a linked one is not HEAD of the repository.
locate() {
  gitdir=${GIT_DIR:-.git}
  [ -f "$gitdir" ] && read -r _ gitdir <"$gitdir"
  head=HEAD
  [ -f "$gitdir/commondir" ] && head=worktrees/${gitdir##*/}/HEAD
  [ ! -d "$gitdir/rebase-merge" ] && [ ! -d "$gitdir/rebase-apply" ]
}

# $old, $new, $ref and more such lines from stdin to the file of moves, each ended by a dot: what is
# torn has none.
note() {
  now=
  who=${GL_USERNAME:-${GITEA_PUSHER_NAME:-${REMOTE_USER:-${GIT_COMMITTER_NAME:-}}}}
  case $who in *'
'*) who= ;; esac
  while
    case $ref in
      refs/heads/* | refs/tags/*) true ;;
      HEAD) locate && ref=$head ;; # not in a rebase: that is over when its branch moves
      *) false ;;
    esac && {
      [ "$now" ] || now=$(date +%s.%N)
      printf '\n1 %s %s %s %s %s %s %s .\n' "$hook" "${now:--}" "$$" "$old" "$new" "$ref" "$who"
    }
    read -r old new ref
  do :; done >>"$box/moves"
  [ "$now" ] && wake
}

# Something ended that git may not have told ref by ref: gitdags is to look.
look() {
  printf '\n1 %s - %s - - - .\n' "$hook" "$$" >>"$box/moves" && wake
}

# Start what takes the moves in, unless it runs already; it sees lines written while it does.
wake() {
  [ -x "$python" ] || return
  # A number left over from before a crash may be another process's by now.
  read -r pid <"$box/handler" && kill -0 "$pid" && grep -q hooks "/proc/$pid/cmdline" && return
  (
    trap '' HUP INT
    unset CDPATH
    sleep 1
    cd "$box/.." && common=$(pwd -P) && cd / && exec "$python" -P -m gitdags.cli.main -q hooks handle "$common"
  ) </dev/null >/dev/null 2>&1 &
  echo $! >"$box/handler"
}

# Most transactions move nothing of interest: they cost no process more.
listen() {
  while read -r old new ref; do
    case $ref in
      refs/heads/* | refs/tags/* | HEAD) quietly note; return ;;
    esac
  done
}

# In a process of its own, so that not even a full disk ends this one.
quietly() (
  trap '' HUP PIPE
  [ -d "$box" ] || exit
  @UMASK@
  "$@"
) 2>/dev/null

chained() {
  [ -f "$other" ] && [ -x "$other" ]
}

case $hook in
  reference-transaction | post-receive)
    if [ "${1-committed}" = committed ]; then
      if chained; then
        moved=$(cat)
        printf '%s\n' "$moved" | listen
        printf '%s\n' "$moved" | "$other" "$@"
        exit
      fi
      listen
      exit 0
    fi
    ;;
  post-checkout)
    old=$1 new=$2 ref=HEAD
    [ "$3" = 1 ] && [ "$1" != "$2" ] && quietly note </dev/null
    ;;
  post-commit | post-merge | post-rewrite) quietly look ;;
esac
chained && exec "$other" "$@"
exit 0
