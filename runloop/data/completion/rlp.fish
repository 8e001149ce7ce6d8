# Completion of rlp for fish. `rlp` itself says what can follow.
function __rlp_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l lines (command $words[1] __complete fish $words[2..-1] "$word" 2>/dev/null)
    switch "$lines[1]"
        case :files
            __fish_complete_path "$word"
        case :dirs
            __fish_complete_directories "$word" ''
        case :words
            if set -q lines[2]
                printf '%s\n' $lines[2..-1]
            end
    end
end
complete -c rlp -f -k -a '(__rlp_complete)'
complete -c runloop -w rlp
