# Completion of rlp for bash. `rlp` itself says what can follow.
_rlp() {
  local word="${COMP_WORDS[COMP_CWORD]}" line kind="" whole rest
  local -a words=() found=()
  # bash splits words at : and =, which rlp does not: join what stands together in the line
  rest="${COMP_LINE:0:COMP_POINT}"
  read -r -a words <<<"$rest"
  [[ $rest == *[[:space:]] ]] && words+=("")
  whole="${words[${#words[@]}-1]}"
  while IFS= read -r line; do
    if [[ -z $kind ]]; then kind="$line"; else found+=("$line"); fi
  done < <("$1" __complete bash "${words[@]:1}" 2>/dev/null)
  case "$kind" in
    :files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    :dirs) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    :words)
      [[ $word == [:=] ]] && word=""
      local before="${whole%"$word"}"
      COMPREPLY=("${found[@]#"$before"}")
      [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
      compopt -o nosort 2>/dev/null
      ;;
  esac
  return 0
}
complete -F _rlp rlp runloop
