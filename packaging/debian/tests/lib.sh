# SPDX-License-Identifier: Apache-2.0
# What the tests of the installed packages have in common.

scrape() {
    curl -sf http://localhost:8000/metrics
}

# Waits until a scrape has a line that matches, for 20 seconds at most.
scrape_has() {
    local pattern=$1 tries body=

    for tries in $(seq 100); do
        if body=$(scrape) && grep -Eq "$pattern" <<<"$body"; then
            return 0
        fi
        sleep 0.2
    done
    echo "after $tries scrapes no line matches: $pattern" >&2
    printf '%s\n' "$body" >&2
    journalctl --no-pager -n 50 -u 'rasad*' >&2 || true
    return 1
}

scrape_lacks() {
    local body

    body=$(scrape) || return 1
    ! grep -Eq "$1" <<<"$body"
}

# The server must run, which on a system without systemd nobody has done yet.
start_server() {
    systemctl start rasad.service
    systemctl is-active rasad.service
}
