# Makes the table of rows.tsv, of libtest's output and of what the checker noted, in this order.

function millis(text) {
    if (text ~ /ms$/) return text + 0
    if (text ~ /(µs|ns)$/) return 0
    return text * 1000
}

# The rows of a test, each between blanks.
function rows_of(test,    row, names, n, count, rows) {
    if (match(test, /row_[0-9]+_/)) return substr(test, RSTART + 4, RLENGTH - 5)
    for (row in tests) {
        count = split(tests[row], names, " ")
        for (n = 1; n <= count; n++) if (index(test, names[n]) == 1) { rows = rows " " row; break }
    }
    return rows
}

FNR == 1 { file++ }

file == 1 {
    split($0, columns, "\t")
    fault[columns[1]] = columns[2]
    if (columns[3] != "") tests[columns[1]] = columns[3]
    next
}

file == 2 && match($0, /^test [^ ]+ \.\.\. (ok|FAILED)/) {
    count = split(rows_of($2), rows, " ")
    for (n = 1; n <= count; n++) {
        runs[rows[n]]++
        if ($4 == "FAILED") failed[rows[n]]++
    }
    next
}

file == 3 {
    test = $0
    sub(/: accepted.*/, "", test)
    row = rows_of(test)
    line = $0
    sub(/^.*: accepted/, "accepted", line)
    gsub(/,/, "", line)
    split(line, words, " ")
    noted[row] = 1
    accepted[row] += words[2]
    lost[row] += words[6]
    reordered[row] += words[8]
    duplicates[row] += words[10]
    time = millis(words[14])
    if (time > slowest[row]) slowest[row] = time
}

END {
    print "| row | fault | runs | failed | accepted | lost | reordered | duplicates | slowest answer |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (row = 1; row in fault; row++) {
        printf "| %d | %s | ", row, fault[row]
        if (!runs[row]) print "no test yet | | | | | | |"
        else if (!noted[row]) printf "%d | %d | - | - | - | - | - |\n", runs[row], failed[row]
        else printf "%d | %d | %d | %d | %d | %d | %d ms |\n", runs[row], failed[row], accepted[row],
            lost[row], reordered[row], duplicates[row], slowest[row]
    }
}
