#!/bin/bash
# Makes a machine with Amazon Linux 2023 a load generator, from the folder that this file is in: installs Python, Locust
# and the hook, and starts Locust as the service `locust`. All but Python is in the folder; no package index is asked.
#
#   ./setup.sh <Locust's options>
#
# Run again, it takes the new options. Region of AWS: AWS_DEFAULT_REGION.
set -euo pipefail

folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$folder"

python=python$(<python-version)
dnf install --assumeyes --quiet "$python"
# An environment that is not whole, or made of other files, is made anew.
digests=$(sha256sum python-version wheels/*)
if [[ ! -f venv/made-of || $(<venv/made-of) != "$digests" ]]; then
    "$python" -m venv --clear venv
fi
install=(venv/bin/pip install --quiet --disable-pip-version-check --no-index --find-links wheels)
install+=('locust-cloudwatch-relay[locust]')
if [[ -f test/requirements.txt ]]; then
    install+=(--requirement test/requirements.txt)
fi
"${install[@]}"
echo "$digests" >venv/made-of

# A test or an option that Locust does not take is said here, where CloudFormation sees it.
locust=("$folder/venv/bin/python" -m locust_hook run "$@")
(cd test && "${locust[@]}" --list)

# A test that has ended is not begun again, and none is begun because the machine was; a worker whose master has ended
# waits for the next one. A stop lets Locust end its processes itself, which hand in what they have: a master on SIGTERM,
# a worker's processes each on SIGINT.
behaviour=$'Restart=no\nKillMode=mixed'
at_boot=disable
# https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines
command=
for argument in "${locust[@]}"; do
    if [[ $argument == --worker ]]; then
        behaviour=$'Restart=always\nRestartSec=2\nKillSignal=SIGINT'
        at_boot=enable
    fi
    argument=${argument//\\/\\\\}
    argument=${argument//\"/\\\"}
    argument=${argument//%/%%}
    argument=${argument//\$/\$\$}
    command+=" \"$argument\""
done

# The service's user exists only while it runs, and may write only below /var/lib/locust and /tmp. Each of a process's
# simulated users has a connection of its own: many open files.
cat >/etc/systemd/system/locust.service <<UNIT
[Unit]
Description=Locust
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=${command# }
WorkingDirectory=$folder/test
Environment=PYTHONUNBUFFERED=1
Environment=AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:?expected the region in AWS_DEFAULT_REGION, found none}
Environment=HOME=/var/lib/locust
Environment=LOCUST_RELAY_SPOOL=/var/lib/locust/spool
DynamicUser=yes
StateDirectory=locust
LimitNOFILE=1048576
TimeoutStopSec=60
$behaviour

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl "$at_boot" locust.service
systemctl restart locust.service

# What ends Locust at once is said here too. A test that is short and ends well is none of it.
for ((second = 0; second < 10; second++)); do
    sleep 1
    if systemctl is-failed --quiet locust.service; then
        echo 'expected Locust to run, found that it has ended with an error:' >&2
        journalctl --unit locust.service --no-pager --lines 50 >&2
        exit 1
    fi
done
