# Runloop for bash 5.1 or newer: a request typed at the prompt goes to agents, a command to the shell. docs/shell.md says how.
# Sourced by the block that `rlp shell enable` writes. `runloop_router_off` and `runloop_router_on` switch it.

[[ $- == *i* && -n ${BASH_VERSION-} && ${TERM-} != dumb ]] || return 0
((BASH_VERSINFO[0] > 5 || (BASH_VERSINFO[0] == 5 && BASH_VERSINFO[1] >= 1))) || return 0
declare -F __runloop_enter >/dev/null && return 0

declare -gA __rl_words=()
declare -ga __rl_needles=() __rl_configs=()
declare -g __rl_filled='' __rl_sigil='' __rl_always='' __rl_known='' __rl_typed='' __rl_rewritten='' __rl_exit='' __rl_reason='' __rl_primary=1 __rl_before='' __rl_accepts=1
declare -g __rl_cache=${RUNLOOP_HOME:-$HOME/.runloop}/router.hints

runloop_router_off() { RUNLOOP_ROUTER_DISABLE=1; }
runloop_router_on() { unset RUNLOOP_ROUTER_DISABLE; }

# Whether lines are left alone: switched off, under CI, or over SSH where it was not asked for.
__runloop_off() {
  [[ -n ${RUNLOOP_ROUTER_DISABLE-} ]] && return 0
  [[ -n ${RUNLOOP_ROUTER_FORCE-} ]] && return 1
  [[ -n ${CI-}${GITHUB_ACTIONS-}${BUILDKITE-}${TEAMCITY_VERSION-}${JENKINS_URL-}${GITLAB_CI-}${CIRCLECI-} ]] && return 0
  [[ -n ${SSH_CONNECTION-}${SSH_TTY-} && -z ${RUNLOOP_ROUTER_SSH-} ]]
}

# Read what tells a plain command: from the file, or from rlp where the configuration is another one since.
__runloop_hints() {
  local line config mark fresh=1 word number=0
  local -a lines=()
  if [[ -r $__rl_cache && -z ${!RUNLOOP__ROUTER*}${!RUNLOOP_ROUTER_SHELL*}${!RUNLOOP_ROUTER_ALLOW*} ]]; then
    mapfile -t lines <"$__rl_cache"
    [[ ${lines[0]-} == "for ${RUNLOOP_CONFIG-}:${XDG_CONFIG_HOME-}" ]] || fresh=''
    for line in "${lines[@]}"; do
      [[ $line == 'config '* ]] || continue
      config=${line#config } mark=$__rl_cache.d/$((++number))  # a date of the mark that is another tells that the file changed
      [[ $config -nt $mark || $config -ot $mark ]] && fresh='' && break
    done
  else
    fresh=''
  fi
  [[ -n $fresh ]] || mapfile -t lines < <(command rlp route --hints 2>/dev/null </dev/null)
  __rl_words=() __rl_needles=() __rl_configs=() __rl_always='' __rl_sigil='' __rl_known=''
  for line in "${lines[@]}"; do
    case $line in
      'config '*) __rl_configs+=("${line#config }") ;;
      'sigil '*) __rl_sigil=${line#sigil } ;;
      'needle '*) __rl_needles+=("${line#needle }") ;;
      'words '*)
        local -a listed
        read -ra listed <<<"${line#words }"
        for word in "${listed[@]}"; do __rl_words[$word]=1; done
        __rl_known=1
        ;;
      always) __rl_always=1 ;;
    esac
  done
}

# Whether what is known has become old, because the configuration changed.
__runloop_stale() {
  local config mark number=0
  [[ -n $__rl_known ]] || return 0
  for config in "${__rl_configs[@]}"; do
    mark=$__rl_cache.d/$((++number))
    [[ $config -nt $mark || $config -ot $mark ]] && return 0
  done
  return 1
}

# Whether the line is a plain command: its first word is one, and nothing in it speaks for a sentence or is on the denylist.
__runloop_plain() {
  local line=$1 word letters=0 marks=0
  local -a split lower
  [[ -n $__rl_known && -z $__rl_always && $line != *$'\n'* ]] || return 1
  read -ra split <<<"$line"
  read -ra lower <<<"${line,,}"
  [[ -n $__rl_sigil && ${split[0]} == "$__rl_sigil"* ]] && return 1
  [[ ${split[-1]} == *[?!.,] && ${split[-1]} != *(*[/.]). ]] && return 1
  type -t -- "${split[0]}" >/dev/null 2>&1 || return 1
  for word in "${lower[@]}"; do
    [[ -n ${__rl_words[$word]-} ]] && return 1
    [[ $word =~ ^[a-z]+$ ]] && ((letters++))
    [[ $word == -[a-z0-9-]* || $word == [\|\&\;\<\>]* ]] && ((marks++))
  done
  ((letters >= 4 && marks == 0)) && return 1
  ! __runloop_needled "$line"
}

# The line with the values of variables in the place of their names, in __rl_filled. Nothing in it is run.
__runloop_fill() {
  __rl_filled=$1
  [[ $1 == *'$'* ]] || return 0
  local rest=$1 name
  __rl_filled=''
  while [[ $rest =~ \$\{?([A-Za-z_][A-Za-z0-9_]*)\}? ]]; do
    name=${BASH_REMATCH[1]}
    __rl_filled+=${rest%%"${BASH_REMATCH[0]}"*}${!name-}
    rest=${rest#*"${BASH_REMATCH[0]}"}
  done
  __rl_filled+=$rest
}

# Whether a line holds what could put it on the denylist; __rl_filled is that line.
__runloop_needled() {
  ((${#__rl_needles[@]})) || return 1
  local whole="$1 $__rl_filled" word needle
  local -a split
  read -ra split <<<"${1//$'\n'/ }"
  for word in "${split[@]}"; do [[ -n ${BASH_ALIASES[$word]-} ]] && whole+=" ${BASH_ALIASES[$word]}"; done
  whole=${whole//[\\\'\"]/}
  for needle in "${__rl_needles[@]}"; do [[ $whole == *"$needle"* ]] && return 0; done
  [[ $whole == *'$'* && $whole == *[\(\{\`]* ]]
}

# A text as JSON, in REPLY.
__runloop_json() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  REPLY="\"${text//[[:cntrl:]]/ }\""
}

# What the shell knows of the words of a line, as JSON, in REPLY.
__runloop_facts() {
  local word aliased='' functioned=''
  local -a split
  read -ra split <<<"${1//$'\n'/ }"
  for word in "${split[@]}"; do
    if [[ -n ${BASH_ALIASES[$word]-} ]]; then
      __runloop_json "$word"
      aliased+=",$REPLY"
      __runloop_json "${BASH_ALIASES[$word]}"
      aliased+=":$REPLY"
    fi
    if declare -F -- "$word" >/dev/null 2>&1; then
      __runloop_json "$word"
      functioned+=",$REPLY"
    fi
  done
  __runloop_json "$PWD"
  local cwd=$REPLY
  __runloop_json "$__rl_filled"
  local filled=$REPLY
  __runloop_json "$PATH"
  REPLY="{\"shell\":\"bash\",\"expanded\":$filled,\"cwd\":$cwd,\"path\":$REPLY,\"aliases\":{${aliased#,}},\"functions\":[${functioned#,}]}"
}

# Ask the coprocess, which starts with the first question; __rl_exit and __rl_reason are its answer. No answer in time is 12.
__runloop_ask() {
  local request answer wait=${RUNLOOP_ROUTER_TIMEOUT_MS:-200}
  __rl_exit=12 __rl_reason=''
  __runloop_facts "$1"
  request=$REPLY
  __runloop_json "$1"
  request="{\"line\":$REPLY,\"facts\":$request}"
  if [[ -z ${__RL_ROUTER_PID-} ]] || ! kill -0 "$__RL_ROUTER_PID" 2>/dev/null; then
    { coproc __RL_ROUTER { exec rlp route --requests --json 2>/dev/null; }; } 2>/dev/null
    disown "$__RL_ROUTER_PID" 2>/dev/null
    ((wait < 1000)) && wait=1000
  fi
  printf -v wait '%d.%03d' $((wait / 1000)) $((wait % 1000))
  local asked='' traps
  traps=$(trap -p PIPE)
  trap '' PIPE  # a coprocess that has just ended must not take the shell with it
  { printf '%s\n' "$request" >&"${__RL_ROUTER[1]}"; } 2>/dev/null && asked=1
  eval "${traps:-trap - PIPE}"
  if [[ -z $asked ]] || ! IFS= read -r -t "$wait" -u "${__RL_ROUTER[0]}" answer 2>/dev/null; then
    [[ -z ${__RL_ROUTER_PID-} ]] || kill "$__RL_ROUTER_PID" 2>/dev/null  # its answer would be taken for that to the next question
    unset __RL_ROUTER_PID
    return
  fi
  [[ $answer =~ \"exit\":\ ([0-9]+) ]] && __rl_exit=${BASH_REMATCH[1]}
  [[ $answer =~ \"reason\":\ \"(.*)\"\} ]] && __rl_reason=${BASH_REMATCH[1]}
}

# What the key after this one does: accept the line, or leave it for the person to edit.
__runloop_then() {
  [[ $__rl_accepts == "$1" ]] && return
  __rl_accepts=$1
  local map does=accept-line
  [[ -n $1 ]] || does=redraw-current-line
  for map in emacs-standard vi-insert vi-command; do bind -m "$map" "\"\\C-x\\C-_a\": $does"; done
}

# What the line is once the shell has put the history into it, in REPLY.
__runloop_expanded() {
  REPLY=$READLINE_LINE
  [[ $- == *H* && ($REPLY == *'!'* || $REPLY == ^*) ]] || return
  REPLY=$(builtin history -p -- "$REPLY" 2>/dev/null) && [[ -n $REPLY ]] || REPLY=$READLINE_LINE
}

# Where a failure is an answer, `set -e` must not end the shell: what is called within `||` may fail.
__runloop_enter() { __runloop_look || :; }

__runloop_look() {
  __runloop_then 1
  # Who sets PROMPT_COMMAND anew takes ours out of it: from the next prompt on it is there again.
  [[ ${PROMPT_COMMAND[*]} == *__runloop_prompt* ]] || PROMPT_COMMAND+=('__runloop_prompt || :')
  if [[ -z ${READLINE_LINE//[[:space:]]/} && -n $__rl_primary ]] || __runloop_off; then
    __rl_primary=''
    return
  fi
  __runloop_stale && __runloop_hints
  local REPLY meant
  if [[ $READLINE_LINE =~ ^[[:space:]]*rlp[[:space:]]+why[[:space:]] ]]; then
    __rl_filled=''
    __runloop_facts "${READLINE_LINE//[\'\"]/}"
    export RUNLOOP_SHELL_FACTS=$REPLY
  fi
  __runloop_expanded
  [[ -n $__rl_primary ]] && __rl_before=''
  meant=$__rl_before$REPLY
  __runloop_fill "$meant"
  # Not at a prompt of its own, it is the next line of a command that is not whole yet: the shell's, unless with it the command is a denied one.
  if [[ -z $__rl_primary ]] && { [[ -n $__rl_known ]] && ! __runloop_needled "$meant"; }; then
    __rl_before=$meant$'\n'
    return
  fi
  if [[ -z $__rl_primary ]] || ! __runloop_plain "$meant"; then
    __runloop_ask "$meant"
    if [[ $__rl_exit == 12 ]] && __runloop_needled "$meant"; then
      __rl_exit=14 __rl_reason='it may be on the denylist, and nobody could say (runloop_router_off lets it through)'
    fi
    [[ -z $__rl_primary && $__rl_exit != 14 ]] && __rl_exit=10
    case $__rl_exit in
      14)
        printf '%s\n' "runloop: not run: $__rl_reason"
        __runloop_then ''
        return
        ;;
      13)
        local key=''
        if ! read -t 0; then  # nothing more is being pasted
          printf '%s\n' "$READLINE_LINE" 'runloop: this reads like a request, but begins with a command.  [Enter] run it   [a] give it to an agent   [any other key] edit it'
          IFS= read -rsn1 key
          case $key in
            '' | r) ;;
            a) __rl_exit=11 ;;
            *)
              __runloop_then ''
              return
              ;;
          esac
        fi
        ;;
    esac
    if [[ $__rl_exit == 11 ]]; then
      __rl_typed=$READLINE_LINE
      READLINE_LINE="rlp ask -- ${READLINE_LINE@Q}"
      READLINE_POINT=${#READLINE_LINE}
      __rl_rewritten=$READLINE_LINE
    fi
  fi
  __rl_primary='' __rl_before=$meant$'\n'
}

# Before a prompt: the next line is one of its own, and the history keeps what was typed, not what it became.
__runloop_prompt() {
  __rl_primary=1
  unset RUNLOOP_SHELL_FACTS
  [[ -n $__rl_rewritten ]] || return 0
  if [[ $(HISTTIMEFORMAT='' builtin history 1) == *"$__rl_rewritten" ]]; then
    builtin history -d -1
    local before
    before=$(HISTTIMEFORMAT='' builtin fc -ln -1 2>/dev/null)
    case :${HISTCONTROL-}: in
      *:ignorespace:* | *:ignoreboth:*) [[ $__rl_typed == ' '* ]] && __rl_typed='' ;;
    esac
    case :${HISTCONTROL-}: in
      *:ignoredups:* | *:ignoreboth:*) [[ $__rl_typed == "${before#$'\t '}" ]] && __rl_typed='' ;;
    esac
    [[ -z $__rl_typed ]] || builtin history -s -- "$__rl_typed"
  fi
  __rl_rewritten=''
}

PROMPT_COMMAND[0]=${PROMPT_COMMAND[0]-}  # the place that `PROMPT_COMMAND=…` writes over: ours is behind it
PROMPT_COMMAND+=('__runloop_prompt || :')
for __rl_map in emacs-standard vi-insert vi-command; do
  bind -m "$__rl_map" -x '"\C-x\C-_r": __runloop_enter'
  bind -m "$__rl_map" '"\C-x\C-_a": accept-line'
  bind -m "$__rl_map" '"\C-m": "\C-x\C-_r\C-x\C-_a"'
  bind -m "$__rl_map" '"\C-j": "\C-x\C-_r\C-x\C-_a"'
done
unset __rl_map
__runloop_hints
