# Holds what was counted (the second file) against the budgets (the first), or makes a budget of it.
#
# Variables: mode (compare, accept), toolchain (of this machine), some (how many paths were asked for; 0: all), file (of the
# budgets).

function complain(words) { print "tests/budget/run: " words > "/dev/stderr"; failed++ }

function grouped(number,    text) {
    text = sprintf("%d", number)
    while (match(text, /[0-9][0-9][0-9][0-9]($|,)/)) text = substr(text, 1, RSTART) "," substr(text, RSTART + 1)
    return text
}

BEGIN {
    tolerance_percent = 10   # of a path without a budget
    stranger_percent = 50    # with another compiler or C library
    cheaper_percent = 15     # from here on a budget is too wide to guard anything
}

FILENAME == file && /^# for / { counted_with = substr($0, 7); next }
FILENAME == file && (/^#/ || NF == 0) { next }
FILENAME == file && NF != 3 { complain("expected a path, instructions and percent in " file ", line " FNR ", but found: " $0); next }
FILENAME == file { names[++budgets] = $1; budget[$1] = $2; percent[$1] = $3; next }
{ order[++counts] = $1; found[$1] = $2 }

function accept(    at, name, counted, text) {
    text = "# Instructions of one operation of each hot path, and by how many percent it may exceed them.\n" \
        "# Written by tests/budget/run --accept; the percentages are yours to change. What an operation is: tests/budget/main.rs.\n" \
        "# for " toolchain "\n\n"
    # A path that is counted no longer has no budget; one that was not asked for keeps it.
    for (at = 1; at <= budgets; at++) {
        name = names[at]
        if (!(name in found) && some) order[++counts] = name
    }
    for (at = 1; at <= counts; at++) {
        name = order[at]
        counted = name in found ? found[name] : budget[name]
        text = text sprintf("%-36s %9d %3d\n", name, counted, name in percent ? percent[name] : tolerance_percent)
    }
    printf "%s", text > file
    print "tests/budget/run: " file " now has what was counted with " toolchain "; commit it with the change that made it so"
}

function compare(    at, name, max, change, over, cheaper) {
    printf "%-36s %12s %12s %8s\n", "path", "budget", "found", "change"
    for (at = 1; at <= counts; at++) {
        name = order[at]
        if (!(name in budget)) {
            printf "%-36s %12s %12s\n", name, "-", grouped(found[name])
            complain("expected a budget for " name ", which takes " found[name] " instructions, but found none in " file "; accept one: tests/budget/run --accept " name)
            continue
        }
        change = (found[name] / budget[name] - 1) * 100
        printf "%-36s %12s %12s %+7.1f%%\n", name, grouped(budget[name]), grouped(found[name]), change
        over = counted_with == toolchain ? percent[name] : stranger_percent
        max = int(budget[name] * (1 + over / 100))
        if (found[name] > max)
            complain(sprintf("%s costs too much: expected at most %s instructions (%s and %d %%), but found %s, which is %+.1f %%\n" \
                "  where they go:      tests/budget/run --explain %s\n" \
                "  if it has to be so: tests/budget/run --accept %s",
                name, grouped(max), grouped(budget[name]), over, grouped(found[name]), change, name, name))
        else if (change < -cheaper_percent && counted_with == toolchain)
            cheaper = cheaper " " name
    }
    for (at = 1; at <= budgets && !some; at++)
        if (!(names[at] in found)) complain("expected " names[at] " to be counted, since " file " has a budget for it, but it was not")
    if (counted_with != toolchain)
        print "tests/budget/run: the budgets are for " counted_with "; this is " toolchain ", so only what exceeds them by " stranger_percent " % fails"
    if (cheaper)
        print "tests/budget/run: cheaper by more than " cheaper_percent " %, which a narrower budget would keep: tests/budget/run --accept" cheaper
}

END {
    if (failed) exit 1
    if (mode == "accept") accept()
    else compare()
    if (failed) exit 1
}
