"""What `tfrun --shell-completion install=<shell>` prints: a function of the shell that asks tfrun for the words.

Each one calls the word that was typed first, so `./scripts/tfrun` and `~/bin/tfrun` complete too. tfrun answers with
whole words, one in each line.
"""

from __future__ import annotations

# readline cuts words at = and :, so what stands before them is cut off the answers too; a key, a group or a folder gets
# no space after it, and without an answer there are files
BASH = r"""_tfrun() {
  local IFS=$'\n' word=${COMP_LINE:0:COMP_POINT} answer
  word=${word##*[[:space:]]}
  COMPREPLY=()
  for answer in $(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT "${COMP_WORDS[0]/#\~/$HOME}" \
    --shell-completion query=bash 2>/dev/null); do
    [[ $COMP_WORDBREAKS != *=* || $word != *=* ]] || answer=${answer#"${word%"${word##*=}"}"}
    COMPREPLY+=("$answer")
  done
  [[ ${COMPREPLY[0]-} != *[=./] ]] || compopt -o nospace
}
complete -o nosort -o default -F _tfrun tfrun"""

ZSH = r"""_tfrun() {
  local -a answers
  answers=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" COMP_POINT=$CURSOR "${words[1]/#\~/$HOME}" \
    --shell-completion query=zsh 2>/dev/null)}")
  if [[ -z ${answers[1]} ]]; then
    _files
  elif [[ ${answers[1]} == *[=./] ]]; then
    compadd -Q -S '' -- $answers
  else
    compadd -Q -- $answers
  fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
compdef _tfrun tfrun"""

FISH = r"""function __tfrun
  set -lx COMP_LINE (commandline -cp)
  set -lx COMP_POINT (string length -- $COMP_LINE)
  set -l program (commandline -opc)[1]
  $program --shell-completion query=fish 2>/dev/null
end
complete -c tfrun -f -a '(__tfrun)'"""

INSTALL = {"bash": BASH, "zsh": ZSH, "fish": FISH}
UNINSTALL = {"bash": "complete -r tfrun", "zsh": "compdef -d tfrun", "fish": "complete -c tfrun -e"}
