# SPDX-License-Identifier: BSD-2-Clause
# bash completion for yoke; verbs and options come from the program's own help.

_yoke_ids() {
    case $1 in
    queue) yoke --json queue list 2>/dev/null |
        grep -o '"name": *"[^"]*"' | cut -d'"' -f4 ;;
    limiter) yoke --json limiter list 2>/dev/null |
        grep -o '"name": *"[^"]*"' | cut -d'"' -f4 ;;
    dead) yoke --json dead list 2>/dev/null |
        grep -o '"id": *"[^"]*"' | cut -d'"' -f4 ;;
    job) yoke --json ls -n 200 2>/dev/null |
        grep -o '"id": *"[^"]*"' | cut -d'"' -f4 ;;
    group) yoke --json tree -n 200 2>/dev/null |
        grep -o '"id": *"g[^"]*"' | cut -d'"' -f4 ;;
    esac
}

_yoke_verbs() {
    yoke help | sed -n 's/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p'
}

_yoke() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local verb='' second='' i words verbs

    verbs=$(_yoke_verbs)
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --server | --password-file) ((i++)) ;;
        -*) ;;
        *)
            if [[ -z $verb ]]; then
                verb=${COMP_WORDS[i]}
            else
                second=${COMP_WORDS[i]}
                break
            fi
            ;;
        esac
    done

    case $previous in
    --password-file | --dir)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    -q | --queue | --then)
        mapfile -t COMPREPLY < <(compgen -W "$(_yoke_ids queue)" -- "$current")
        return
        ;;
    -g | --group | --parent)
        mapfile -t COMPREPLY < <(compgen -W "$(_yoke_ids group)" -- "$current")
        return
        ;;
    --job)
        mapfile -t COMPREPLY < <(compgen -W "$(_yoke_ids job)" -- "$current")
        return
        ;;
    --limits)
        mapfile -t COMPREPLY < <(compgen -W "$(_yoke_ids limiter)" -- "$current")
        return
        ;;
    --fair)
        mapfile -t COMPREPLY < <(compgen -W 'yes no' -- "$current")
        return
        ;;
    --state)
        words='delayed parked ready running cancelling joining delivering finished'
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
        return
        ;;
    esac

    if [[ $current == -* ]]; then
        if [[ -n $second ]] && grep -qx "$verb $second" <<<"$verbs"; then
            words=$(yoke help "$verb $second" 2>/dev/null)
        elif [[ -n $verb ]]; then
            words=$(yoke help "$verb" 2>/dev/null)
        else
            words=$(yoke help)
        fi
        words=$(grep -o -e '--[a-z-]\+' <<<"$words" | sort -u)
    elif [[ -z $verb ]]; then
        words=$(cut -d' ' -f1 <<<"$verbs" | sort -u)
    elif [[ -z $second ]] && grep -q "^$verb " <<<"$verbs"; then
        words=$(sed -n "s/^$verb //p" <<<"$verbs")
    else
        case $verb in
        queue) words=$(_yoke_ids queue) ;;
        limiter) words=$(_yoke_ids limiter) ;;
        retry) words=$(_yoke_ids dead) ;;
        dead) words='' ;;
        group)
            if [[ $second == run ]]; then
                mapfile -t COMPREPLY < <(compgen -c -- "$current")
                return
            fi
            words=$(_yoke_ids group)
            ;;
        tree) words=$(_yoke_ids group) ;;
        wait | status | cancel | reschedule | logs) words="$(_yoke_ids job) $(_yoke_ids group)" ;;
        result) words=$(_yoke_ids job) ;;
        help) words=$verbs ;;
        run)
            mapfile -t COMPREPLY < <(compgen -c -- "$current")
            return
            ;;
        *)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _yoke yoke
