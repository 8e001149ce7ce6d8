# Runloop for zsh: a request typed at the prompt goes to agents, a command to the shell. docs/shell.md says how.
# Sourced by the block that `rlp shell enable` writes. `runloop_router_off` and `runloop_router_on` switch it.

[[ -o interactive && -n $ZSH_VERSION ]] || return 0
zmodload zsh/parameter zsh/system zsh/datetime zsh/net/socket zsh/zleparameter 2>/dev/null || return 0
[[ $TERM == dumb ]] && return 0
(( $+functions[runloop-accept-line] )) && return 0

typeset -gA _rl_words
typeset -ga _rl_needles _rl_configs _rl_dated _rl_absent
typeset -g _rl_filled= _rl_sigil= _rl_always= _rl_known= _rl_typed= _rl_rewritten= _rl_before= _rl_exit= _rl_reason=
typeset -g _rl_cache=${RUNLOOP_HOME:-$HOME/.runloop}/router.hints

runloop_router_off() { typeset -g RUNLOOP_ROUTER_DISABLE=1 }
runloop_router_on() { unset RUNLOOP_ROUTER_DISABLE }

# Whether a file of the configuration is not of the date of its mark, or one of the two is not there.
_runloop_other() { [[ $1 -nt $2 || $1 -ot $2 || ( -e $1 && ! -e $2 ) || ( ! -e $1 && -e $2 ) ]] }

# Read what tells a plain command: from the file, or from rlp where the configuration is another one since.
_runloop_hints() {
  emulate -L zsh
  setopt extended_glob
  local line word
  local -i number=0
  local -a lines=()
  if [[ -r $_rl_cache && -z ${(M)${(k)parameters}:#(#i)RUNLOOP_(_ROUTER*|ROUTER_(SHELL|ALLOW)*)} ]]; then
    lines=("${(@f)$(<$_rl_cache)}")
    [[ ${lines[1]} == "for $RUNLOOP_CONFIG:$XDG_CONFIG_HOME" ]] || lines=()
    for line in $lines; do
      [[ $line == 'config '* ]] && _runloop_other ${line#config } $_rl_cache.d/$(( ++number )) && lines=() && break
    done
  fi
  (( $#lines )) || lines=("${(@f)$(command rlp route --hints 2>/dev/null </dev/null)}")
  _rl_words=() _rl_needles=() _rl_configs=() _rl_always= _rl_sigil= _rl_known=
  for line in $lines; do
    case $line in
      'config '*) _rl_configs+=(${line#config }) ;;
      'sigil '*) _rl_sigil=${line#sigil } ;;
      'needle '*) _rl_needles+=(${line#needle }) ;;
      'words '*) for word in ${=line#words }; do _rl_words[$word]=1; done; _rl_known=1 ;;
      always) _rl_always=1 ;;
    esac
  done
  _rl_dated=() _rl_absent=() number=0
  for word in $_rl_configs; do
    line=$_rl_cache.d/$(( ++number ))
    if [[ -e $line ]]; then _rl_dated+=($word $line); elif [[ ! -e $word ]]; then _rl_absent+=($word); fi
  done
}

# Whether the line is a plain command: its first word is one, and nothing in it speaks for a sentence or is on the denylist. This is what
# every command waits for, so it is one function: zsh pays for each call with a dozen system calls.
_runloop_plain() {
  emulate -L zsh
  setopt extended_glob
  local line=$1 word mark
  for word in $_rl_absent; do [[ -e $word ]] && _rl_known= && break; done
  for word mark in $_rl_dated; do [[ $word -nt $mark || $word -ot $mark || ! -e $word ]] && _rl_known= && break; done
  [[ -n $_rl_known ]] || _runloop_hints
  [[ -z $_rl_known || -n $_rl_always ]] && return 1
  [[ -n $_rl_sigil && $line == [[:space:]]#${(q)_rl_sigil}* ]] && return 1
  [[ $line == *[?!.,][[:space:]]# && $line != *([[:space:]/.]).[[:space:]]# ]] && return 1
  local -a split=(${(z)line}) words=(${=${(L)line}})
  local first=${split[1]}
  (( $+commands[$first] )) || (( $+aliases[$first] )) || (( $+builtins[$first] )) || (( $+functions[$first] )) || (( ${reswords[(Ie)$first]} )) ||
    [[ $first == */* && -x $first && ! -d $first ]] || return 1
  for word in $words; do (( $+_rl_words[$word] )) && return 1; done
  if (( $#words >= 4 )); then
    local -a plain=(${(M)words:#[a-z]##}) marks=(${(M)words:#(-[a-z0-9-]*|[\|\&\;\<\>]*)})
    (( $#plain >= 4 && ! $#marks )) && return 1
  fi
  # Nothing that could hide a program, and none of the denylist in sight: that is enough. Else it takes a closer look.
  local hidden=${(M)_rl_filled:#*[\\\'\"\$\`]*}
  for word in $split; do (( $+aliases[$word] )) && hidden=1; done
  for word in $_rl_needles; do [[ $_rl_filled == *${word}* ]] && hidden=1; done
  [[ -n $hidden ]] || return 0
  ! _runloop_needled $line
}

# The line as far as the shell can tell what it will be without running anything: variables put in, and aliases, global and suffix ones
# too (a function's text is parsed, never run); in _rl_filled.
_runloop_fill() {
  emulate -L zsh
  setopt extended_glob
  [[ $1 == *'$'* ]] && _rl_filled=${1//(#m)\$(\{|)[A-Za-z_][A-Za-z0-9_]#(\}|)/${(P)${MATCH//[\$\{\}]/}}}
  (( $#galiases + $#saliases )) || return 0
  functions[_runloop_parsed]=$_rl_filled 2>/dev/null && _rl_filled=${functions[_runloop_parsed]}
  unset 'functions[_runloop_parsed]' 2>/dev/null
  return 0
}

# Whether a line holds what could put it on the denylist; _rl_filled is that line.
_runloop_needled() {
  emulate -L zsh
  (( $#_rl_needles )) || return 1
  local whole="$1 $_rl_filled" word needle
  for word in ${(z)1}; do (( $+aliases[$word] )) && whole+=" ${aliases[$word]}"; done
  whole=${whole//[\\\'\"]/}
  for needle in $_rl_needles; do [[ $whole == *${needle}* ]] && return 0; done
  [[ $whole == *'$'* && $whole == *[\(\{\`]* ]]
}

# What follows needs no_multibyte. Every byte by its number, from 1; made when the first line is asked about.
typeset -ga _rl_byte=()
_runloop_bytes() { local -i code; for (( code = 0; code < 256; code++ )); do _rl_byte+=(${(#)code}); done }

# A text as a MessagePack string, in REPLY. Few functions: zsh pays for each call with a dozen system calls.
_runloop_str() { REPLY=$'\xdb'${_rl_byte[(($#1>>24)&255)+1]}${_rl_byte[(($#1>>16)&255)+1]}${_rl_byte[(($#1>>8)&255)+1]}${_rl_byte[($#1&255)+1]}$1 }

# The MessagePack string after the first $2 of $1, in REPLY; fails where there is none, or it is not whole. (`%%` looks once at each
# place, `#*` many times.)
_runloop_text() {
  local rest=${1%%$2*}
  (( $#rest < $#1 )) || return 1
  rest=${1[$#rest+$#2+1,-1]}
  local one=${rest[1]} two=${rest[2]} three=${rest[3]}
  local -i size at
  case $one in
    $'\xd9') size=$(( #two )) at=3 ;;
    $'\xda') size=$(( #two * 256 + #three )) at=4 ;;
    [$'\xa0'-$'\xbf']) size=$(( #one - 0xa0 )) at=2 ;;
    *) return 1 ;;
  esac
  REPLY=
  (( size == 0 )) || REPLY=${rest[at,at+size-1]}
  (( $#REPLY == size ))
}

# A frame of RMP (docs/protocol.md): schema id as two bytes, packed type, packed payload, packed meta; in REPLY. _rl_stamp is what all
# frames of one question have in common: when they were made, for how long they hold, and two ids.
_runloop_frame() {
  local body=$'\x83\xa4type'$2$'\xa7payload'$3$'\xa4meta'$4
  local -i size=$#body whole=$(( $#body + 64 ))
  REPLY=${_rl_byte[(whole>>24&255)+1]}${_rl_byte[(whole>>16&255)+1]}${_rl_byte[(whole>>8&255)+1]}${_rl_byte[(whole&255)+1]}
  REPLY+=$'RMP0\0\0\0\x40\0\0\0\0'$1$'\0\0'
  REPLY+=${_rl_byte[(size>>24&255)+1]}${_rl_byte[(size>>16&255)+1]}${_rl_byte[(size>>8&255)+1]}${_rl_byte[(size&255)+1]}
  REPLY+=$_rl_stamp$'\0\0\0\0\0\0\0'${_rl_byte[(++_rl_message&255)+1]}$'\0\0\0\0'$body
}
_runloop_stamp() {
  local -i now=$(( EPOCHREALTIME * 1000 )) shift=56
  local made=
  for (( ; shift >= 0; shift -= 8 )); do made+=${_rl_byte[(now>>shift&255)+1]}; done
  _rl_stamp=$made$'\0\0\0\0\0\0\x27\x10'$made
  now=$(( $$ * 65536 + RANDOM ))
  for (( shift = 56; shift >= 0; shift -= 8 )); do _rl_stamp+=${_rl_byte[(now>>shift&255)+1]}; done
}
typeset -g _rl_stamp= _rl_read=
typeset -gi _rl_message=0

# The next frame from the daemon, in REPLY, at most until $2 (seconds since 1970); _rl_read is what was read and comes after it.
_runloop_next() {
  local piece one two three four
  local -i size=0
  while :; do
    if (( size == 0 && $#_rl_read >= 4 )); then
      one=${_rl_read[1]} two=${_rl_read[2]} three=${_rl_read[3]} four=${_rl_read[4]}
      size=$(( (#one << 24) + (#two << 16) + (#three << 8) + #four + 4 ))
    fi
    (( size && $#_rl_read >= size )) && break
    (( $2 > EPOCHREALTIME )) && sysread -i $1 -t $(( $2 - EPOCHREALTIME )) piece || return 1
    _rl_read+=$piece
  done
  REPLY=${_rl_read[1,size]}
  _rl_read=${_rl_read[size+1,-1]}
}

# Which words of a line are programs and which are files, as members of the packed facts, in REPLY. A word is what the shell takes for one,
# and what stands between other characters than those of names: `$(…)` has words too. The router looks at no more than 300.
_runloop_found() {
  local word file programs= files=
  local -i programs_count=0 files_count=0
  local -aU words=(${(Q)${(z)1}})
  words=(${words[1,301]} ${${=1//[^[:alnum:]_.\/~+@%:,=-]/ }[1,301]})
  for word in $words; do
    [[ $word == -* ]] && continue
    file=$word
    [[ $file == \~(|/*) ]] && file=$HOME${file#\~}
    if [[ -e $file || -L $file ]]; then _runloop_str $word; files+=$REPLY; (( files_count++ )); fi
    if (( $+commands[$file] )) || whence -p -- $file; then _runloop_str $word; programs+=$REPLY; (( programs_count++ )); fi
  done >/dev/null
  REPLY=$'\xa8commands\xdc'${_rl_byte[(programs_count>>8)+1]}${_rl_byte[(programs_count&255)+1]}$programs
  REPLY+=$'\xa5files\xdc'${_rl_byte[(files_count>>8)+1]}${_rl_byte[(files_count&255)+1]}$files
}

# Ask the daemon about the line; _rl_exit and _rl_reason are its answer. Fails where there is no daemon or it takes too long.
_runloop_ask_daemon() {
  emulate -L zsh
  setopt no_multibyte extended_glob
  local socket=${RUNLOOP_SOCKET:-} line=$1 fd hello facts request inbox word machine=/run/runloop/rmp.sock
  local -F until=$(( EPOCHREALTIME + ${RUNLOOP_ROUTER_TIMEOUT_MS:-200} / 1000.0 ))
  # A daemon has settings of its own: what a variable of this shell says only rlp knows, and what a file of this user's says the machine's does not.
  [[ -z $RUNLOOP_CONFIG && -z ${(M)${(k)parameters}:#(#i)RUNLOOP_(_ROUTER*|ROUTER_(SHELL|ALLOW)*)} ]] || return 1
  local -a own=(${^_rl_configs[2,-1]}(N))
  (( $#own )) && machine=
  if [[ -z $socket ]]; then
    for socket in ${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/runloop/rmp.sock} ${RUNLOOP_HOME:-$HOME/.runloop}/sock/rmp.sock $machine; do
      [[ -S $socket && ( -O $socket || $socket == /run/runloop/rmp.sock ) ]] && break
    done
  fi
  # What is typed is for no other user who listens there, but for the machine's daemon.
  [[ -S $socket && ( -O $socket || $socket == /run/runloop/rmp.sock ) ]] && zsocket $socket 2>/dev/null || return 1
  fd=$REPLY
  {
    (( $#_rl_byte )) || _runloop_bytes
    _rl_read=
    _runloop_stamp
    _runloop_frame $'\0\x10' $'\xb3intent.bus.hello.v1' $'\x83\xa4role\xa6client\xa4name\xa3zsh\xa7version\xa11' $'\x80'
    syswrite -o $fd -- $REPLY || return 1
    local aliased= functioned=
    local -i aliases_count=0 functions_count=0
    for word in ${(z)line}; do
      if (( $+aliases[$word] )); then _runloop_str $word; aliased+=$REPLY; _runloop_str $aliases[$word]; aliased+=$REPLY; (( aliases_count++ )); fi
      if (( $+functions[$word] )); then _runloop_str $word; functioned+=$REPLY; (( functions_count++ )); fi
      (( aliases_count == 15 || functions_count == 15 )) && break
    done
    facts=$'\x86\xa5shell\xa3zsh'
    _runloop_str $_rl_filled; facts+=$'\xa8expanded'$REPLY
    _runloop_found $line; facts+=$REPLY
    facts+=$'\xa7aliases'${_rl_byte[0x81+aliases_count]}$aliased$'\xa9functions'${_rl_byte[0x91+functions_count]}$functioned
    _runloop_str $line; request=$'\x84\xa4verb\xa5route\xa5brief\xc3\xa4line'$REPLY$'\xa5facts'$facts
    _runloop_next $fd $until && _runloop_text $REPLY $'\xa5inbox' || return 1
    inbox=$REPLY
    _runloop_str $inbox/$RANDOM$RANDOM
    _runloop_frame $'\x07\xd1' $'\xb6intent.ctrl.request.v1' $request $'\x82\xa5topic\xa8rlp/ctrl\xa8reply_to'$REPLY
    local asked=$REPLY
    _runloop_str $inbox/\*; _runloop_frame $'\0\x12' $'\xb7intent.bus.subscribe.v1' $'\x82\xa3sub\x01\xa7pattern'$REPLY $'\x80'
    syswrite -o $fd -- $REPLY$asked || return 1
    REPLY=
    while [[ ${REPLY[64,200]} != *toolresult.ctrl.response.v1* ]]; do _runloop_next $fd $until || return 1; done
    local answer=$REPLY before=${REPLY%%$'\xa4exit'*} code
    code=${answer[$#before+6]}
    (( $#before < $#answer )) && _rl_exit=$(( #code )) && _runloop_text $answer $'\xa6reason' && _rl_reason=$REPLY || return 1
    (( _rl_exit >= 10 && _rl_exit <= 14 ))
  } always {
    exec {fd}>&-
  }
}

# A text as JSON, in REPLY.
_runloop_json() {
  emulate -L zsh
  setopt extended_glob
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  REPLY="\"${text//[[:cntrl:]]/ }\""
}

# What the shell knows of the words of a line, as JSON without its last brace, in REPLY.
_runloop_facts() {
  emulate -L zsh
  local aliased= functioned= word
  for word in ${(z)1}; do
    (( $+aliases[$word] )) && { _runloop_json $word; aliased+=",$REPLY"; _runloop_json $aliases[$word]; aliased+=":$REPLY" }
    (( $+functions[$word] )) && { _runloop_json $word; functioned+=",$REPLY" }
  done
  REPLY="{\"shell\":\"zsh\",\"aliases\":{${aliased#,}},\"functions\":[${functioned#,}]"
}

# Ask `rlp route`, which decides by itself.
_runloop_ask_process() {
  emulate -L zsh
  local said facts
  _runloop_facts $1; facts=$REPLY
  _runloop_json $_rl_filled
  said=$(print -rn -- $1 | command rlp route --json --stdin --shell-facts =(print -r -- "$facts,\"expanded\":$REPLY}") 2>&1)
  _rl_exit=$?
  _rl_reason=${${said##*\"reason\": \"}%%\"\}*}
}

# What the line is once the shell has put the history into it, in REPLY.
_runloop_expanded() {
  local -i at=$CURSOR
  local typed=$BUFFER
  zle .expand-history 2>/dev/null
  REPLY=$BUFFER BUFFER=$typed CURSOR=at
}

# How much of the line leaves room for a message below it, in REPLY; fails where that is all of it.
_runloop_beginning() {
  local -a rows=("${(@f)BUFFER}")
  local -i high=0 half=$(( LINES > 10 ? (LINES - 6) / 2 : 2 ))
  for REPLY in "$rows[@]"; do (( high += ${(m)#REPLY} / COLUMNS + 1 )); done
  REPLY="${(F)rows[1,half]}"
  REPLY="${REPLY[1,half*COLUMNS]} …"
  (( high > 2 * half ))
}

# Show a message below the line and read a key, in REPLY. Of a line that would hide the message only the beginning is shown meanwhile.
_runloop_key() {
  local whole=$BUFFER
  local -i at=$CURSOR
  _runloop_beginning && BUFFER=$REPLY && CURSOR=$#BUFFER
  zle -M "$1"
  zle -R
  read -k 1 -s
  zle -M ''
  BUFFER=$whole CURSOR=at
}

runloop-accept-line() {
  setopt local_options unset no_ksh_arrays no_sh_word_split no_err_exit no_err_return
  local line=$BUFFER REPLY=$BUFFER IFS=$' \t\n'
  # Lines are left alone where that was asked for, under CI, and over SSH where it was not asked for.
  if [[ $CONTEXT != (start|cont) || $line != *[^[:space:]]* || -n $RUNLOOP_ROUTER_DISABLE || ( -z $RUNLOOP_ROUTER_FORCE &&
    ( -n $CI$GITHUB_ACTIONS$BUILDKITE$TEAMCITY_VERSION$JENKINS_URL$GITLAB_CI$CIRCLECI ||
      ( -n $SSH_CONNECTION$SSH_TTY && -z $RUNLOOP_ROUTER_SSH ) ) ) ]]; then
    zle runloop-plain-accept-line
    return
  fi
  [[ $line == *rlp*why* && ${${=line}[1,2]} == 'rlp why' ]] && _runloop_facts ${(Q)line} && export RUNLOOP_SHELL_FACTS="$REPLY}" && REPLY=$line
  [[ -o bang_hist && -n $histchars[1] && ( $line == *$histchars[1]* || $line == $histchars[2]* ) ]] && _runloop_expanded
  local meant=$PREBUFFER$REPLY
  _rl_filled=$meant
  [[ $meant == *'$'* ]] || (( $#galiases + $#saliases )) && _runloop_fill "$meant"
  # The next line of a command that is not whole yet: the shell's, unless with it the command is a denied one.
  if [[ $CONTEXT == cont ]] && { [[ -n $_rl_known ]] && ! _runloop_needled "$meant" }; then
    zle runloop-plain-accept-line
    return
  fi
  if [[ $CONTEXT == cont ]] || ! _runloop_plain "$meant"; then
    _rl_exit=10 _rl_reason=
    _runloop_ask_daemon "$meant" 2>/dev/null || _runloop_ask_process "$meant"
    if [[ $_rl_exit != 1[0134] ]]; then
      _rl_exit=12
      _runloop_needled "$meant" && _rl_exit=14 _rl_reason='it may be on the denylist, and nobody could say (runloop_router_off lets it through)'
    fi
    [[ $CONTEXT == cont && $_rl_exit != 14 ]] && _rl_exit=10
    case $_rl_exit in
      14)
        if (( ! PENDING && ! KEYS_QUEUED_COUNT )) && _runloop_beginning; then
          _runloop_key "runloop: not run: ${_rl_reason}  [any key] edit it"
        else
          zle -M "runloop: not run: ${_rl_reason}"
        fi
        return 0 ;;
      13)
        if (( PENDING || KEYS_QUEUED_COUNT )); then
          :  # more is being pasted: this is not the moment to ask
        else
          _runloop_key "runloop: this reads like a request, but begins with a command.  [Enter] run it   [a] give it to an agent   [any other key] edit it"
          case $REPLY in
            ($'\n'|$'\r'|r) ;;
            (a) _rl_exit=11 ;;
            (*) return 0 ;;
          esac
        fi ;;
    esac
    if [[ $_rl_exit == 11 ]]; then
      _rl_typed=$line
      _rl_rewritten="rlp ask -- ${(qq)line}"
      BUFFER=$_rl_rewritten
    fi
  fi
  zle runloop-plain-accept-line
}

# The history keeps what was typed, not what it became: that is not saved, but stays the last entry until something else is put in.
_runloop_history() {
  setopt local_options unset no_ksh_arrays no_err_exit no_err_return
  [[ -z $_rl_rewritten || ${1%$'\n'} != $_rl_rewritten ]] && return 0
  _rl_before=${history[$HISTCMD]}
  return 1
}
_runloop_typed() {
  [[ -n $_rl_rewritten ]] || return 0
  _rl_rewritten=
  [[ -o hist_ignore_space && $_rl_typed == ' '* ]] || [[ -o hist_ignore_dups && $_rl_typed == $_rl_before ]] || print -sr -- $_rl_typed
}

_runloop_told() { unset RUNLOOP_SHELL_FACTS }

# What Enter did before. The shell's own gets a name that is a function's: plugins that wrap every widget, and are read later, would look
# for a builtin of that name.
if [[ ${widgets[accept-line]} == builtin ]]; then
  _runloop_plain_accept_line() { zle .accept-line }
  zle -N runloop-plain-accept-line _runloop_plain_accept_line
else
  zle -A accept-line runloop-plain-accept-line
fi
zle -N accept-line runloop-accept-line
autoload -Uz add-zsh-hook && add-zsh-hook zshaddhistory _runloop_history && add-zsh-hook preexec _runloop_typed && add-zsh-hook precmd _runloop_told
_runloop_hints
