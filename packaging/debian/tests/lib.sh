# SPDX-License-Identifier: Apache-2.0
# What the tests of the installed packages have in common.

# Waits until a scrape has a line that matches, for 20 seconds at most.
scrape_has() {
    local pattern=$1 tries

    for tries in $(seq 100); do
        if curl -sf http://localhost:8000/metrics | grep -Eq "$pattern"; then
            return 0
        fi
        sleep 0.2
    done
    echo "after $tries scrapes no line matches: $pattern" >&2
    curl -s http://localhost:8000/metrics >&2
    journalctl --no-pager -n 50 -u 'rasad*' >&2 || true
    return 1
}

scrape_lacks() {
    ! curl -sf http://localhost:8000/metrics | grep -Eq "$1"
}

# The server must run, which on a system without systemd nobody has done yet.
start_server() {
    systemctl start rasad.service
    systemctl is-active rasad.service
}
