#!/bin/sh
# Makes a key for this machine, and a certificate that a cluster's CA signs.
#
#   host_certificate.sh CA OUTPUT [NAME ...]
#
# CA is a folder with ca.crt and ca.key, OUTPUT one that takes ca.crt, host.crt
# and host.key. Ray compares the address that it calls with the certificate's, so
# it names all addresses of this machine, which are known only once it runs, and
# the other NAMEs by which it is called.
set -eu
umask 077

if [ "$#" -lt 2 ]; then
  echo "error: $0 takes the CA's folder, the output folder, and names" >&2
  exit 2
fi
ca=$1
output=$2
shift 2

names="DNS:localhost,IP:127.0.0.1,DNS:$(hostname)"
for address in $(hostname -I); do names="$names,IP:$address"; done
for name in "$@"; do names="$names,DNS:$name"; done

openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
  -sha256 -subj "/CN=$(hostname)" -keyout "$output/host.key" -out "$output/host.csr" 2>/dev/null
cat >"$output/host.ext" <<END
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = $names
END
openssl x509 -req -in "$output/host.csr" -extfile "$output/host.ext" \
  -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
  -days 90 -sha256 -out "$output/host.crt" 2>/dev/null
rm "$output/host.csr" "$output/host.ext"
cp "$ca/ca.crt" "$output/ca.crt"
