# Runloop for fish: a request typed at the prompt goes to agents, a command to the shell. docs/shell.md says how.
# Sourced by the block that `rlp shell enable` writes. `runloop_router_off` and `runloop_router_on` switch it.

status is-interactive; and test "$TERM" != dumb; or return 0
functions -q __runloop_enter; and return 0

set -g __rl_cache (test -n "$RUNLOOP_HOME"; and echo $RUNLOOP_HOME; or echo $HOME/.runloop)/router.hints
set -g __rl_nobody 'it may be on the denylist, and nobody could say (runloop_router_off lets it through)'
set -g __rl_known
set -g __rl_always
set -g __rl_sigil
set -g __rl_needles
set -g __rl_configs
set -g __rl_words

function runloop_router_off
    set -g RUNLOOP_ROUTER_DISABLE 1
end

function runloop_router_on
    set -e RUNLOOP_ROUTER_DISABLE
end

function __runloop_off --description 'Whether lines are left alone: switched off, under CI, or over SSH where it was not asked for'
    test -n "$RUNLOOP_ROUTER_DISABLE"; and return 0
    test -n "$RUNLOOP_ROUTER_FORCE"; and return 1
    test -n "$CI$GITHUB_ACTIONS$BUILDKITE$TEAMCITY_VERSION$JENKINS_URL$GITLAB_CI$CIRCLECI"; and return 0
    test -n "$SSH_CONNECTION$SSH_TTY" -a -z "$RUNLOOP_ROUTER_SSH"
end

function __runloop_rlp --description 'What rlp says, for which nobody waits for ever: meanwhile no key is heard, not even Ctrl-C'
    set -l wait 2000
    string match -qr '^\d+$' -- "$RUNLOOP_ROUTER_TIMEOUT_MS"; and set wait (math "max($wait, $RUNLOOP_ROUTER_TIMEOUT_MS)")
    command timeout -s KILL (math $wait / 1000) rlp $argv 2>/dev/null
end

function __runloop_other --description 'Whether a file of the configuration is not of the date of its mark, or one of the two is not there'
    test $argv[1] -nt $argv[2]; or test $argv[1] -ot $argv[2]
end

function __runloop_hints --description 'Read what tells a plain command: from the file, or from rlp where the configuration is another one since'
    set -l lines
    set -l number 0
    if test -r $__rl_cache; and not set -n | string match -qir '^RUNLOOP_(_ROUTER|ROUTER_(SHELL|ALLOW))'
        read -z --delimiter \n -a lines <$__rl_cache
        test "$lines[1]" = "for $RUNLOOP_CONFIG:$XDG_CONFIG_HOME"; or set lines
        for line in $lines
            string match -q 'config *' -- $line; or continue
            set number (math $number + 1)
            if __runloop_other (string sub -s 8 -- $line) $__rl_cache.d/$number
                set lines
                break
            end
        end
    end
    set -q lines[1]; or set lines (__runloop_rlp route --hints </dev/null)
    set __rl_known
    set __rl_always
    set __rl_sigil
    set __rl_needles
    set __rl_configs
    for line in $lines
        switch $line
            case 'config *'
                set -a __rl_configs (string sub -s 8 -- $line)
            case 'sigil *'
                set __rl_sigil '^'(string sub -s 7 -- $line | string escape --style=regex)
            case 'needle *'
                set -a __rl_needles (string sub -s 8 -- $line)
            case 'words *'
                set __rl_words ' '(string sub -s 7 -- $line)' '
                set __rl_known 1
            case always
                set __rl_always 1
        end
    end
end

function __runloop_stale --description 'Whether what is known has become old, because the configuration changed'
    test -n "$__rl_known"; or return 0
    set -l number 0
    for config in $__rl_configs
        set number (math $number + 1)
        __runloop_other $config $__rl_cache.d/$number; and return 0
    end
    return 1
end

function __runloop_plain --description 'Whether the line is a plain command: nothing in it speaks for a sentence or is on the denylist'
    set -l line $argv[1]
    test -n "$__rl_known" -a -z "$__rl_always"; or return 1
    string match -q '*'\n'*' -- $line; and return 1
    set -l split (string split -n ' ' -- $line)
    test -n "$__rl_sigil"; and string match -qr -- $__rl_sigil $split[1]; and return 1
    string match -qr '[?!,]$|[^/.\s]\.$' -- $split[-1]; and return 1
    type -q -- $split[1]; or return 1
    set -l lower (string lower -- $split)
    for word in $lower
        not string match -qr '[*?]' -- $word; and string match -q -- "* $word *" $__rl_words; and return 1
    end
    if set -q lower[4]
        test (count (string match -r '^[a-z]+$' -- $lower)) -ge 4; and not string match -qr '^(-[a-z0-9-]|[|&;<>])' -- $lower; and return 1
    end
    not __runloop_needled $line
end

function __runloop_short --description 'What an abbreviation or an alias stands for: a function that is one line'
    set -l found (abbr --show 2>/dev/null | string match -r -- "^abbr .*-- "(string escape --style=regex -- $argv[1])' (.*)$')
    if set -q found[2]
        string unescape -- $found[2]
        return
    end
    functions -q -- $argv[1]; or return
    set -l body (functions --no-details -- $argv[1] | string match -rv '^\s*(#.*)?$')
    test (count $body) -eq 3; and string trim -- (string replace -r '\s*\$argv\s*;?\s*$' '' -- $body[2])
end

function __runloop_filled --description 'The line with the values of variables in the place of their names; nothing in it is run'
    set -l filled (string replace -a \n ' ' -- $argv[1])
    for name in (string match -ar '\$\w+' -- $filled | string sub -s 2 | sort -ru)
        # Within quotes one that is not set is nothing; without, its whole word is.
        set -q $name; or string match -q '*"*' -- $filled; or continue
        set filled (string replace -a -- \$$name "$$name" $filled)
    end
    echo -- $filled
end

function __runloop_needled --description 'Whether a line holds what could put it on the denylist'
    set -q __rl_needles[1]; or return 1
    set -l words (string split -n ' ' -- (string replace -a \n ' ' -- $argv[1]))
    set -l whole $argv[1]
    string match -q '*$*' -- $argv[1]; and set -a whole (__runloop_filled $argv[1])
    for word in $words
        string match -qr '^[\w.-]+$' -- $word; or continue
        if abbr -q -- $word; or functions -q -- $word
            set -a whole (__runloop_short $word)
        end
    end
    string match -qr '[\\\\\'"]' -- $whole; and set whole (string replace -ar '[\\\\\'"]' '' -- $whole)
    for needle in $__rl_needles
        string match -q "*$needle*" -- $whole; and return 0
    end
    string match -q '*$*' -- $whole; and string match -qr '[({`]' -- $whole
end

function __runloop_json --description 'A text as JSON'
    printf '"%s"' (string replace -a '\\' '\\\\' -- $argv[1] | string replace -a '"' '\\"' | string replace -ar '[[:cntrl:]]' ' ')
end

function __runloop_facts --description 'What the shell knows of the words of a line, as JSON'
    set -l functioned
    set -l aliased
    for word in (string split -n ' ' -- (string replace -a \n ' ' -- $argv[1]))
        string match -qr '^[\w.-]+$' -- $word; or continue
        functions -q -- $word; and set -a functioned "\"$word\""
        set -l short (__runloop_short $word)
        set -q short[1]; and set -a aliased "\"$word\":"(__runloop_json "$short")
    end
    set -l filled (__runloop_json (__runloop_filled $argv[1]))
    printf '{"shell":"fish","expanded":%s,"functions":[%s],"aliases":{%s}}' $filled "$(string join , -- $functioned)" "$(string join , -- $aliased)"
end

function __runloop_told --on-event fish_postexec
    set -e RUNLOOP_SHELL_FACTS
    set -q __rl_typed; or return
    set -l now (date +%s)
    test "$now" = "$__rl_merged"; and return # fish merges once a second at most: after the next command then
    set -g __rl_merged $now
    set -e __rl_typed
    builtin history merge # what __runloop_remember wrote, and in the place of what was run instead
end

function __runloop_remember --description 'Put a line into the history that is not run. fish 3 can only be told through the file of its history'
    test -n "$fish_private_mode"; or string match -q ' *' -- $argv[1]; and return
    if string match -qr '^([4-9]|\d\d)' -- $version
        # What was run instead of the last one is forgotten with the next command only while it is the last entry.
        set -q __rl_asked; and builtin history delete --exact --case-sensitive -- $__rl_asked
        builtin history append -- $argv[1]
        return
    end
    set -q fish_history; and test -z "$fish_history"; and return
    set -l place (test -n "$XDG_DATA_HOME"; and echo $XDG_DATA_HOME; or echo $HOME/.local/share)/fish
    test -d $place; or return
    set -l name (set -q fish_history; and test $fish_history != default; and echo $fish_history; or echo fish)
    builtin history save
    set -l line (string replace -a '\\' '\\\\' -- $argv[1] | string collect)
    set line (string replace -a \n '\\n' -- $line)
    printf '%s cmd: %s\n  when: %s\n' - $line (date +%s) >>$place/{$name}_history
    set -g __rl_typed 1
end

function __runloop_ask --description 'Ask rlp route, which decides by itself: its exit code, and the reason in __rl_reason'
    set -l facts (__runloop_facts $argv[1])
    set -l answer (printf '%s' $argv[1] | __runloop_rlp route --json --stdin --shell-facts (printf '%s' $facts | psub))
    set -l code $pipestatus[2]
    if not contains -- $code 10 11 13 14
        set code 12
        if __runloop_needled $argv[1]
            set -g __rl_reason $__rl_nobody
            return 14
        end
    end
    set -g __rl_reason (string replace -r '.*"reason": "(.*)"\}$' '$1' -- $answer)
    return $code
end

function __runloop_say --description 'A line below what is being edited'
    echo
    echo $argv[1]
end

function __runloop_key --description 'A key; Ctrl-C too: as a signal it would end the function before the line is drawn again'
    command stty -isig </dev/tty
    command head -c 1 </dev/tty
    command stty isig </dev/tty
end

function __runloop_rows --description 'How many rows the prompt and these lines take'
    set -l prompt (string split \n -- "$(string join '' -- (fish_mode_prompt))$(fish_prompt)")
    set -l indent (string length --visible -- $prompt[-1])
    set -l rows (math (count $prompt) - 1)
    for line in $argv
        set rows (math "$rows + 1 + floor(($indent + $(string length --visible -- $line)) / $COLUMNS)")
    end
    echo $rows
end

function __runloop_again --description 'Draw the line anew: fish begins as many rows above as the prompt and the line take up to the cursor'
    for row in (seq 2 (__runloop_rows (commandline --cut-at-cursor)))
        echo
    end
    commandline -f repaint
end

function __runloop_run --description 'Run the line, and go on in the mode in which Enter leaves fish'
    string match -q '*-m insert*' -- (bind --preset -M $fish_bind_mode \r 2>/dev/null); and set fish_bind_mode insert
    commandline -f execute
end

function __runloop_enter --description 'Run the line, or hand it to agents'
    set -l line (commandline | string collect)
    if commandline --paging-mode; or commandline --search-mode; or not string match -qr '\S' -- "$line"; or __runloop_off
        __runloop_run
        return
    end
    commandline --is-valid
    set -l whole $status
    if test $whole -eq 2; and string match -q '*'\n'*' -- $line
        __runloop_run # not whole yet: fish goes on to the next line
        return
    end
    __runloop_stale; and __runloop_hints
    string match -qr '^\s*rlp\s+why\s' -- $line; and set -gx RUNLOOP_SHELL_FACTS (__runloop_facts (string replace -ar '[\'"]' '' -- $line))
    if not __runloop_plain $line
        __runloop_ask $line
        set -l code $status
        if test $whole -eq 2; and not contains -- $code 11 13 14
            __runloop_run # a quote that is open, and no apostrophe of a sentence
            return
        end
        if test $code -eq 13
            __runloop_say 'runloop: this reads like a request, but begins with a command.  [Enter] run it   [a] give it to an agent   [any other key] edit it'
            set -l key (__runloop_key)
            __runloop_again
            switch "$key"
                case '' \r r
                case a
                    set code 11
                case \cc
                    commandline -f cancel-commandline
                    return
                case '*'
                    return
            end
        end
        if test $code -eq 14
            if test (__runloop_rows (string split \n -- $line)) -ge (math $LINES - 4)
                __runloop_say "runloop: not run: $__rl_reason  [any key] edit it"
                __runloop_key >/dev/null # the line, drawn anew, takes the whole screen
            else
                __runloop_say "runloop: not run: $__rl_reason"
            end
            __runloop_again
            return
        end
        if test $code -eq 11
            __runloop_remember $line
            set -g __rl_asked " rlp ask -- "(string escape -- $line | string collect) # with a space in front: not for the history
            commandline -r -- $__rl_asked
        end
    end
    __runloop_run
end

for mode in default insert replace
    bind -M $mode \r __runloop_enter
    bind -M $mode \n __runloop_enter
end
__runloop_hints
