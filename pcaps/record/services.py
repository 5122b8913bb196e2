# SPDX-License-Identifier: MIT OR Apache-2.0
"""Services of an office that are not the web, mail or calls: shells, files, tunnels, directories, things.

`ssdp` and `rtsp` need libraries for Python, too: the Debian packages python3-gi, gir1.2-gssdp-1.6, gir1.2-gst-rtsp-server-1.0
and gstreamer1.0-plugins-good.
"""
import hashlib
import os
import pathlib
import time

from lab import PACKAGES, WORK, sh
from targets import target

PACKAGES.update({
    "Xvfb": "xvfb", "aria2c": "aria2", "dhclient": "isc-dhcp-client", "dnsmasq": "dnsmasq-base", "gst-launch-1.0": "gstreamer1.0-tools",
    "kinit": "krb5-user", "krb5kdc": "krb5-kdc", "kvno": "krb5-user", "ldapsearch": "ldap-utils", "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients", "mosquitto_sub": "mosquitto-clients", "nmbd": "samba", "nmblookup": "samba-common-bin",
    "openvpn": "openvpn", "scp": "openssh-client", "slapadd": "slapd", "slapd": "slapd", "smbclient": "smbclient", "smbd": "samba",
    "snmpd": "snmpd", "snmpget": "snmp", "ssh": "openssh-client", "sshd": "openssh-server", "udhcpc": "udhcpc", "upnpc": "miniupnpc",
    "wg": "wireguard-tools", "wireguard-go": "wireguard-go", "xfreerdp": "freerdp2-x11", "xrdp": "xrdp",
})


# Debian's own, which finds Debian's bindings
PYTHON = "/usr/bin/python3"


def desk_and_server(lab, name="server"):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host(name, "192.0.2.20/24", "2001:db8:1::20/64")


@target("ssh/ssh.pcap", "OpenSSH's client and server, IPv4 and IPv6: a key, a refused password, a refused cipher, another key exchange, a file copied", ["sshd", "ssh", "scp"])
def ssh(lab, path):
    desk_and_server(lab)
    for kind in ("host", "user"):
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(WORK / kind))
    os.makedirs("/run/sshd", mode=0o755)
    keys = lab.file("keys/authorized", (WORK / "user.pub").read_text())
    conf = lab.file("sshd.conf", f"Port 22\nPort 2222\nHostKey {WORK}/host\nAuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\n"
                    "PermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\nPrintMotd no\n")
    lab.start("server", "/usr/sbin/sshd", "-D", "-e", "-f", conf, tcp=[22, 2222])
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-i", WORK / "user"]
    with lab.capture(path):
        lab.run("desk", "ssh", *options, "root@192.0.2.20", "uname")
        lab.run("desk", "ssh", *options, "-p", 2222, "-c", "aes128-ctr", "-m", "hmac-sha2-256", "-o", "KexAlgorithms=ecdh-sha2-nistp256", "root@2001:db8:1::20", "uname")
        lab.run("desk", "ssh", *options, "-o", "PubkeyAuthentication=no", "root@192.0.2.20", "uname", ok=(255,))
        lab.run("desk", "ssh", *options, "-c", "aes128-cbc", "root@192.0.2.20", "uname", ok=(255,))
        lab.run("desk", "scp", *options, lab.file("note.txt", "a note\n" * 200), "root@192.0.2.20:/run/lab/copy.txt")


@target("mqtt/mqtt.pcap", "mosquitto with its clients, versions 3.1, 3.1.1 and 5, IPv4 and IPv6: user names, wills, qualities of service, a refused client", ["mosquitto", "mosquitto_pub", "mosquitto_sub"])
def mqtt(lab, path):
    desk_and_server(lab)
    passwords = WORK / "passwords"
    sh("mosquitto_passwd", "-b", "-c", str(passwords), "alice", "fixture")
    os.chmod(passwords, 0o644)
    conf = lab.file("mosquitto.conf", "per_listener_settings true\nuser root\nlistener 1883\nallow_anonymous true\n"
                    f"listener 1884\nallow_anonymous false\npassword_file {passwords}\n")
    lab.start("server", "mosquitto", "-c", conf, tcp=[1883, 1884])
    with lab.capture(path):
        listener = lab.start("desk", "mosquitto_sub", "-h", "192.0.2.20", "-V", "mqttv5", "-i", "listener", "-t", "house/#", "-t", "garden/+/rain", "-q", "1", raw=True)
        for version, address, topic in (("31", "192.0.2.20", "house/cellar"), ("311", "2001:db8:1::20", "house/attic"), ("5", "192.0.2.20", "garden/east/rain")):
            lab.run("desk", "mosquitto_pub", "-h", address, "-V", version, "-i", f"sensor-{version}", "-t", topic, "-m", "21.5", "-q", "2",
                    "--will-topic", f"gone/{version}", "--will-payload", "gone")
        lab.run("desk", "mosquitto_pub", "-h", "192.0.2.20", "-p", "1884", "-u", "alice", "-P", "fixture", "-t", "door", "-l", stdin=b"open\n" * 40)
        lab.run("desk", "mosquitto_pub", "-h", "192.0.2.20", "-p", "1884", "-u", "bob", "-P", "wrong", "-t", "door", "-m", "open", ok=None)
        listener.terminate()
        listener.wait()


def dnsmasq(lab, host, *options):
    lab.start(host, "dnsmasq", "--keep-in-foreground", "--port=0", "--user=root", "--group=root", "--conf-file=/dev/null", "--pid-file",
              "--dhcp-leasefile=/run/lab/leases", "--dhcp-broadcast", "--log-facility=-", *options, raw=True)


@target("dhcp/dhcp.pcap", "dhclient and udhcpc with dnsmasq: leases, host names, vendor classes, renewal, release, an address that is refused", ["dnsmasq", "dhclient", "udhcpc"])
def dhcp(lab, path):
    lab.host("server", "192.0.2.20/24")
    lab.host("desk")
    lab.host("thing")
    dnsmasq(lab, "server", "--dhcp-range=192.0.2.100,192.0.2.150,1h", "--dhcp-option=option:router,192.0.2.1", "--domain=example.org", "--dhcp-authoritative")
    conf = lab.file("dhclient.conf", 'send host-name "desk";\nsend fqdn.fqdn "desk.example.org.";\nsend fqdn.encoded on;\nsend vendor-class-identifier "fixture:desk";\n'
                    "request subnet-mask, routers, domain-name, domain-name-servers, interface-mtu;\ntimeout 10;\n")
    client = ["dhclient", "-4", "-1", "-v", "-sf", "/bin/true", "-cf", conf, "-lf", WORK / "desk.leases", "-pf", WORK / "desk.pid", "eth0"]
    lab.file("desk.leases", "")
    with lab.capture(path):
        lab.run("desk", *client)
        lab.run("desk", *client[:1], "-r", *client[1:], ok=None)
        lab.run("thing", "udhcpc", "-i", "eth0", "-q", "-n", "-s", "/bin/true", "-x", "hostname:thing", "-V", "fixture:thing", "-r", "192.0.2.120")
        lab.run("thing", "udhcpc", "-i", "eth0", "-q", "-n", "-t", 2, "-T", 1, "-s", "/bin/true", "-r", "198.51.100.7", ok=None)


@target("dhcpv6/dhcpv6.pcap", "dhclient with dnsmasq over IPv6: an address, information only, release", ["dnsmasq", "dhclient"])
def dhcpv6(lab, path):
    lab.host("server", "2001:db8:1::20/64")
    lab.host("desk")
    dnsmasq(lab, "server", "--dhcp-range=2001:db8:1::100,2001:db8:1::150,64,1h", "--dhcp-option=option6:dns-server,[2001:db8:1::20]", "--domain=example.org", "--bind-interfaces", "--interface=eth0")
    conf = lab.file("dhclient6.conf", 'send fqdn.fqdn "desk.example.org.";\nsend dhcp6.vendor-class 00:00:01:37:00:07:66:69:78:74:75:72:65;\nrequest dhcp6.name-servers, dhcp6.domain-search;\ntimeout 10;\n')
    lab.file("desk6.leases", "")
    client = ["dhclient", "-6", "-1", "-v", "-sf", "/bin/true", "-cf", conf, "-lf", WORK / "desk6.leases", "-pf", WORK / "desk6.pid"]
    time.sleep(2)  # the link's own address
    with lab.capture(path):
        lab.run("desk", *client, "eth0", timeout=60)
        lab.run("desk", *client, "-r", "eth0", ok=None)
        lab.run("desk", *client, "-S", "eth0", ok=None, timeout=60)


def samba(lab):
    share = WORK / "share"
    share.mkdir()
    (share / "plans.txt").write_text("a plan\n" * 500)
    os.makedirs("/run/samba", exist_ok=True)
    for folder in ("private", "lock", "state", "cache"):
        (WORK / folder).mkdir()
    return lab.file("smb.conf", f"""[global]
workgroup = CORP
netbios name = FILES
server role = standalone server
map to guest = bad user
log level = 0
private dir = {WORK}/private
lock directory = {WORK}/lock
state directory = {WORK}/state
cache directory = {WORK}/cache
ncalrpc dir = {WORK}/lock
pid directory = {WORK}/lock
passdb backend = tdbsam
load printers = no
disable spoolss = yes
server min protocol = NT1
[home]
path = {share}
read only = no
guest ok = yes
force user = root
""")


@target("smb/smb.pcap", "smbclient with smbd: dialects 2.02, 2.10, 3.0, 3.11 and the first version, a user, a guest, a share that is not there, files written and read, encryption", ["smbd", "smbclient"])
def smb(lab, path):
    desk_and_server(lab)
    conf = samba(lab)
    lab.run("server", "smbpasswd", "-c", conf, "-a", "-s", "root", stdin=b"fixture\nfixture\n")
    lab.start("server", "smbd", "-F", "--no-process-group", "-s", conf, tcp=[445, 139])
    note = lab.file("note.txt", "a note\n" * 1000)
    client = lambda *a, ok=(0,), share="//192.0.2.20/home": lab.run("desk", "smbclient", "-s", lab.file("client.conf", "[global]\nclient min protocol = NT1\nworkgroup = CORP\nnetbios name = DESK\n"), share, *a, ok=ok)
    with lab.capture(path, snap=900):
        client("-U", "root%fixture", "-m", "SMB3_11", "-c", f"ls; put {note} notes.txt; get plans.txt {WORK}/got; mkdir old; rename notes.txt old\\n.txt; del old\\n.txt; rmdir old")
        for dialect in ("SMB2_02", "SMB2_10", "SMB3_00", "NT1"):
            client("-U", "root%fixture", "-m", dialect, "-c", "ls", ok=None)
        client("-N", "-c", "ls nothing.txt", ok=None)
        client("-U", "root%wrong", "-c", "ls", ok=None)
        client("-N", "-c", "ls", share="//192.0.2.20/nowhere", ok=None)
        client("-N", "-p", "139", "-c", "ls", ok=None)
        client("-U", "root%fixture", "--client-protection=encrypt", "-c", "ls", share="//2001-db8-1--20.ipv6-literal.net/home", ok=None)
        client("-U", "root%fixture", "--client-protection=encrypt", "-c", "ls", ok=None)


@target("netbios/netbios.pcap", "nmblookup with nmbd: registrations, queries by broadcast and to the server, the names of a node, a name that nobody has", ["nmbd", "nmblookup"])
def netbios(lab, path):
    desk_and_server(lab)
    conf = samba(lab)
    for host in ("desk", "server"):
        lab.run(host, "ip", "address", "change", f"192.0.2.{11 if host == 'desk' else 20}/24", "broadcast", "192.0.2.255", "dev", "eth0")
    with lab.capture(path, filter="udp port 137"):
        lab.start("server", "nmbd", "-F", "--no-process-group", "-s", conf, udp=[137])
        time.sleep(6)
        look = lambda *a: lab.run("desk", "nmblookup", "-s", conf, *a, ok=None)
        look("FILES")
        look("FILES#20")
        look("-U", "192.0.2.20", "CORP#00")
        look("-A", "192.0.2.20")
        look("NOBODY")


@target("netbios/datagrams.pcap", "nmbd announces itself, and looks for the master browser of its group: datagrams from name to name", ["nmbd"])
def datagrams(lab, path):
    desk_and_server(lab)
    conf = samba(lab)
    lab.run("server", "ip", "address", "change", "192.0.2.20/24", "broadcast", "192.0.2.255", "dev", "eth0")
    with lab.capture(path, filter="udp port 138"):
        lab.start("server", "nmbd", "-F", "--no-process-group", "-s", conf, udp=[137, 138])
        time.sleep(25)


@target("ldap/ldap.pcap", "ldapsearch and others with slapd, IPv4 and IPv6: binds, a wrong password, searches, changes, who am I, StartTLS", ["slapd", "ldapsearch", "slapadd"])
def ldap(lab, path):
    desk_and_server(lab)
    cert, key = lab.certificate("ldap.example.org")
    (WORK / "db").mkdir()
    conf = lab.file("slapd.conf", f"""include /etc/ldap/schema/core.schema
pidfile {WORK}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
database mdb
maxsize 10485760
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw fixture
directory {WORK}/db
""")
    entries = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n"
    entries += "".join(f"dn: cn=person{i},dc=example,dc=org\nobjectClass: person\ncn: person{i}\nsn: P{i}\n\n" for i in range(20))
    sh("slapadd", "-f", str(conf), "-l", str(lab.file("entries.ldif", entries)))
    lab.start("server", "slapd", "-d", "0", "-f", conf, "-h", "ldap:///", tcp=[389])
    os.environ["LDAPTLS_REQCERT"] = "never"
    admin, base = ["-D", "cn=admin,dc=example,dc=org", "-w", "fixture"], ["-b", "dc=example,dc=org"]
    server = ["-x", "-H", "ldap://192.0.2.20"]
    with lab.capture(path):
        lab.run("desk", "ldapsearch", *server, *admin, *base, "(cn=person1*)")
        lab.run("desk", "ldapsearch", *server, "-D", "cn=admin,dc=example,dc=org", "-w", "wrong", *base, ok=None)
        lab.run("desk", "ldapsearch", "-x", "-H", "ldap://[2001:db8:1::20]", "-b", "ou=nowhere,dc=example,dc=org", ok=None)
        lab.run("desk", "ldapwhoami", *server, *admin)
        lab.run("desk", "ldapmodify", *server, *admin, "-a", stdin=b"dn: cn=new,dc=example,dc=org\nobjectClass: person\ncn: new\nsn: N\n\ndn: cn=person1,dc=example,dc=org\nchangetype: delete\n")
        lab.run("desk", "ldapsearch", *server, "-ZZ", *admin, *base, "-s", "base", ok=None)


@target("kerberos/kerberos.pcap", "MIT's kinit and kvno with krb5kdc over UDP and TCP: tickets, a wrong password, a client and a service that are not there", ["krb5kdc", "kinit", "kvno"])
def kerberos(lab, path):
    desk_and_server(lab)
    conf = lambda name, limit: lab.file(name, "[libdefaults]\ndefault_realm = EXAMPLE.ORG\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\nrdns = false\n"
                                        f"udp_preference_limit = {limit}\n[realms]\nEXAMPLE.ORG = {{\nkdc = 192.0.2.20\n}}\n")
    kdc = lab.file("kdc.conf", f"[kdcdefaults]\nkdc_ports = 88\nkdc_tcp_ports = 88\n[realms]\nEXAMPLE.ORG = {{\ndatabase_name = {WORK}/principal\nkey_stash_file = {WORK}/stash\n"
                   f"acl_file = {WORK}/acl\nsupported_enctypes = aes256-cts:normal aes128-cts:normal\n}}\n[logging]\nkdc = FILE:{WORK}/kdc.log\n")
    os.environ.update(KRB5_CONFIG=str(conf("krb5.conf", 32700)), KRB5_KDC_PROFILE=str(kdc), KRB5CCNAME=f"FILE:{WORK}/tickets")
    sh("kdb5_util", "create", "-s", "-P", "fixture")
    for command in ("addprinc -pw fixture +requires_preauth alice", "addprinc -pw fixture bob", "addprinc -randkey HTTP/www.example.org"):
        sh("kadmin.local", "-q", command)
    lab.start("server", "krb5kdc", "-n", udp=[88], tcp=[88])
    with lab.capture(path):
        for limit in (32700, 1):
            os.environ["KRB5_CONFIG"] = str(conf(f"krb5-{limit}.conf", limit))
            lab.run("desk", "kinit", "alice", stdin=b"fixture\n")
            lab.run("desk", "kvno", "HTTP/www.example.org")
            lab.run("desk", "kvno", "HTTP/nowhere.example.org", ok=None)
            lab.run("desk", "kinit", "alice", stdin=b"wrong\n", ok=None)
            lab.run("desk", "kinit", "nobody", stdin=b"fixture\n", ok=None)
        lab.run("desk", "kinit", "bob", stdin=b"fixture\n")


@target("wireguard/wireguard.pcap", "wireguard-go on both sides, IPv4 and IPv6 below: handshakes, pings through the tunnel, a peer that nobody answers", ["wireguard-go", "wg", "ping"])
def wireguard(lab, path):
    desk_and_server(lab)
    sh("mkdir", "-p", "/run/wireguard")
    keys = {h: sh("wg", "genkey").strip() for h in ("desk", "server", "nobody")}
    public = {h: sh("sh", "-c", f"echo {k} | wg pubkey").strip() for h, k in keys.items()}
    tunnels = [("desk", "wg0", 51820, "10.9.0.1", "server", "192.0.2.20:51820", "10.9.0.2"), ("server", "wg1", 51820, "10.9.0.2", "desk", "192.0.2.11:51820", "10.9.0.1"),
               ("desk", "wg2", 4500, "10.8.0.1", "server", "[2001:db8:1::20]:4501", "10.8.0.2"), ("server", "wg3", 4501, "10.8.0.2", "desk", "[2001:db8:1::11]:4500", "10.8.0.1"),
               ("desk", "wg4", 51821, "10.7.0.1", "nobody", "192.0.2.20:9999", "10.7.0.2")]
    with lab.capture(path, filter="udp"):
        for host, dev, port, own, peer, endpoint, other in tunnels:
            lab.start(host, "wireguard-go", "-f", dev, raw=True)
            lab.run(host, "wg", "set", dev, "listen-port", port, "private-key", lab.file(f"{dev}.key", keys[host]), "peer", public[peer], "endpoint", endpoint, "allowed-ips", other + "/32")
            lab.run(host, "ip", "address", "add", own, "peer", other, "dev", dev)
            lab.run(host, "ip", "link", "set", dev, "up")
        for other in ("10.9.0.2", "10.8.0.2", "10.7.0.2"):
            lab.run("desk", "ping", "-c", 4, "-i", 0.2, "-W", 1, other, ok=None)


@target("openvpn/openvpn.pcap", "openvpn on both sides: bare, under tls-auth with two digests, under tls-crypt and tls-crypt-v2, over UDP and TCP, a client that nobody answers", ["openvpn", "openssl"])
def openvpn(lab, path):
    desk_and_server(lab)
    cert, key = lab.certificate("vpn.example.org")
    shared = WORK / "shared.key"
    sh("openvpn", "--genkey", "secret", str(shared))
    sh("openvpn", "--genkey", "tls-crypt-v2-server", str(WORK / "v2s.key"))
    sh("openvpn", "--tls-crypt-v2", str(WORK / "v2s.key"), "--genkey", "tls-crypt-v2-client", str(WORK / "v2c.key"))
    base = ["--dev", "null", "--ca", cert, "--cert", cert, "--key", key, "--nobind", "--verb", "1", "--connect-retry", "1", "--ifconfig-noexec", "--route-noexec"]
    cases = [(1194, "udp", [], []), (1195, "udp", ["--tls-auth", shared, "0"], ["--tls-auth", shared, "1"]),
             (1196, "udp", ["--tls-auth", shared, "0", "--auth", "SHA512"], ["--tls-auth", shared, "1", "--auth", "SHA512"]),
             (1197, "udp", ["--tls-crypt", shared], ["--tls-crypt", shared]), (1198, "udp", ["--tls-crypt-v2", WORK / "v2s.key"], ["--tls-crypt-v2", WORK / "v2c.key"]),
             (443, "tcp", [], []), (1200, "tcp", ["--tls-crypt", shared], ["--tls-crypt", shared])]
    for port, proto, server, _ in cases:
        kind = ["--proto", "tcp-server"] if proto == "tcp" else ["--proto", "udp"]
        lab.start("server", "openvpn", *[a for a in base if a != "--nobind"], *kind, "--port", port, "--tls-server", "--dh", "none", *server,
                  tcp=[port] if proto == "tcp" else [], udp=[port] if proto == "udp" else [])
    with lab.capture(path, snap=400):
        for port, proto, _, client in [*cases, (1299, "udp", [], [])]:
            kind = "tcp-client" if proto == "tcp" else "udp"
            lab.run("desk", "timeout", "3", "openvpn", *base, "--proto", kind, "--remote", "192.0.2.20", port, "--tls-client", *client, ok=None)


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(value[k]) for k in sorted(value)) + b"e"
    return b"%d:%s" % (len(value), value)


@target("bittorrent/bittorrent.pcap", "three of aria2 share a file: found through the distributed hash table and local discovery, a tracker over UDP that is not there", ["aria2c"])
def bittorrent(lab, path):
    desk_and_server(lab)
    lab.host("other", "192.0.2.12/24")
    content = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(2048))
    pieces = b"".join(hashlib.sha1(content[at:at + 16384]).digest() for at in range(0, len(content), 16384))
    meta = {b"announce": b"udp://192.0.2.20:6969", b"info": {b"length": len(content), b"name": b"file.bin", b"piece length": 16384, b"pieces": pieces}}
    torrent = lab.file("file.torrent", bencode(meta))
    common = ["aria2c", "--no-conf", "--seed-time=10", "--bt-enable-lpd=true", "--enable-dht=true", "--enable-dht6=false", "--check-integrity=true", "--file-allocation=none",
              "--listen-port=6881", "--dht-listen-port=6881", "--bt-tracker-timeout=2", "--bt-tracker-connect-timeout=2"]
    with lab.capture(path, snap=300):
        lab.file("seed/file.bin", content)
        lab.start("server", *common, f"--dir={WORK}/seed", f"--dht-file-path={WORK}/a.dat", torrent, tcp=[6881], udp=[6881])
        for host in ("desk", "other"):
            lab.start(host, *common, f"--dir={WORK}/{host}", f"--dht-file-path={WORK}/{host}.dat", "--dht-entry-point=192.0.2.20:6881", torrent, tcp=[6881], udp=[6881])
        time.sleep(20)


@target("ssdp/ssdp.pcap", "gssdp's device and a searching upnpc: announcements, searches, responses, goodbyes", ["upnpc"])
def ssdp(lab, path):
    desk_and_server(lab)
    for host in ("desk", "server"):
        lab.run(host, "ip", "route", "add", "239.0.0.0/8", "dev", "eth0")
    program = lab.file("device.py", """import gi
gi.require_version('GSSDP', '1.6')
from gi.repository import GLib, GSSDP
client = GSSDP.Client.new_full('eth0', None, 1900, GSSDP.UDAVersion.VERSION_1_0)
client.set_server_id('Fixture/1 UPnP/1.0 GSSDP/1')
group = GSSDP.ResourceGroup.new(client)
for target in ('upnp:rootdevice', 'urn:schemas-upnp-org:device:InternetGatewayDevice:1'):
    group.add_resource_simple(target, 'uuid:5d794fc2-5c5e-4460-a023-f04a51363300::' + target, 'http://192.0.2.20:49152/device.xml')
group.set_available(True)
loop = GLib.MainLoop()
GLib.timeout_add_seconds(7, lambda: (group.set_available(False), GLib.timeout_add_seconds(1, loop.quit))[0])
loop.run()
""")
    with lab.capture(path, filter="udp"):
        lab.start("server", PYTHON, program, raw=True)
        lab.run("desk", "upnpc", "-m", "eth0", "-s", ok=None, timeout=60)
        time.sleep(5)


@target("snmp/snmp.pcap", "net-snmp's programs with snmpd, versions 1, 2c and 3, IPv4 and IPv6: reading, bulk, setting, an object that is not there, encrypted, traps", ["snmpd", "snmpget"])
def snmp(lab, path):
    desk_and_server(lab)
    os.environ["MIBS"] = ""
    conf = lab.file("snmpd.conf", "agentaddress udp:161,udp6:161\nrocommunity fixture\nrocommunity6 fixture\nrwcommunity writer\nsysName server\nsysDescr a server\n"
                    "createUser alice SHA fixture-auth AES fixture-priv\ncreateUser bob MD5 fixture-auth\nrouser alice priv\nrouser bob auth\n")
    lab.start("server", "snmpd", "-f", "-C", "-c", conf, "-p", WORK / "snmpd.pid", "-Lf", WORK / "snmpd.log", "-I", "system_mib,snmpv3mibs", udp=[161], raw=True)
    system = "1.3.6.1.2.1.1."
    run = lambda program, *a: lab.run("desk", program, "-t", 1, "-r", 1, *a, ok=None)
    with lab.capture(path):
        for version in ("1", "2c"):
            run("snmpget", "-v", version, "-c", "fixture", "192.0.2.20", system + "1.0", system + "5.0")
            run("snmpwalk", "-v", version, "-c", "fixture", "udp6:[2001:db8:1::20]", system + "9")
        run("snmpbulkget", "-v", "2c", "-c", "fixture", "192.0.2.20", system + "1")
        run("snmpget", "-v", "2c", "-c", "wrong", "192.0.2.20", system + "1.0")
        run("snmpset", "-v", "2c", "-c", "writer", "192.0.2.20", system + "6.0", "s", "here")
        run("snmpget", "-v", "1", "-c", "fixture", "192.0.2.20", "1.3.6.1.4.1.99999.1.0")
        run("snmpget", "-v", "3", "-l", "authPriv", "-u", "alice", "-a", "SHA", "-A", "fixture-auth", "-x", "AES", "-X", "fixture-priv", "192.0.2.20", system + "1.0")
        run("snmpget", "-v", "3", "-l", "authNoPriv", "-u", "bob", "-a", "MD5", "-A", "fixture-auth", "192.0.2.20", system + "1.0")
        run("snmptrap", "-v", "1", "-c", "fixture", "192.0.2.20", "1.3.6.1.4.1.99999", "192.0.2.11", 6, 7, 100, system + "5.0", "s", "desk")
        run("snmptrap", "-v", "2c", "-c", "fixture", "192.0.2.20", 100, "1.3.6.1.6.3.1.1.5.3")
        run("snmpinform", "-v", "2c", "-c", "fixture", "192.0.2.20", 100, "1.3.6.1.6.3.1.1.5.4")


@target("rdp/rdp.pcap", "xfreerdp with xrdp: TLS, RDP's own security, CredSSP that is refused", ["xrdp", "xfreerdp", "Xvfb"])
def rdp(lab, path):
    desk_and_server(lab)
    cert, key = lab.certificate("rdp.example.org")
    ini = "[Globals]\nini_version=1\nfork=true\nport={}\ntcp_nodelay=true\nsecurity_layer={}\ncrypt_level=high\ncertificate={}\nkey_file={}\nssl_protocols=TLSv1.2, TLSv1.3\nautorun=\nallow_channels=true\nrequire_credentials=false\n[Logging]\nLogFile={}/xrdp.log\nLogLevel=INFO\nEnableSyslog=false\n[Xvnc]\nname=none\nlib=libvnc.so\nusername=ask\npassword=ask\nip=127.0.0.1\nport=-1\n"
    for port, layer in ((3389, "negotiate"), (3390, "rdp"), (3391, "tls")):
        lab.start("server", "xrdp", "--nodaemon", "--config", lab.file(f"xrdp-{layer}.ini", ini.format(port, layer, cert, key, WORK)), tcp=[port])
        # the next one refuses to start while it is there
        pathlib.Path("/run/xrdp.pid").unlink(missing_ok=True)
        pathlib.Path("/run/xrdp/xrdp.pid").unlink(missing_ok=True)
    os.makedirs("/tmp/.X11-unix", exist_ok=True)
    lab.start("desk", "Xvfb", ":77", "-screen", "0", "640x480x16", "-nolisten", "tcp", raw=True)
    os.environ["DISPLAY"] = ":77"
    client = lambda port, user, *a: lab.run("desk", "timeout", "4", "xfreerdp", f"/v:192.0.2.20:{port}", f"/u:{user}", "/p:fixture", "/cert:ignore", "/log-level:ERROR", "/client-hostname:DESK", *a, ok=None)
    with lab.capture(path, snap=400):
        client(3389, "alice", "/sec:tls")
        client(3390, "bob", "/sec:rdp")
        client(3391, "carol", "/sec:nla")
        client(3391, "dave", "/sec:rdp")


@target("rtsp/rtsp.pcap", "GStreamer's client and server: media over UDP and interleaved, an address that is not there", ["gst-launch-1.0"])
def rtsp(lab, path):
    desk_and_server(lab)
    server = lab.file("rtsp.py", """import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_service('8554')
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch('( audiotestsrc is-live=true num-buffers=60 ! audioconvert ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay0 pt=0 )')
server.get_mount_points().add_factory('/tone', factory)
server.attach(None)
GLib.MainLoop().run()
""")
    lab.start("server", PYTHON, server, tcp=[8554])
    with lab.capture(path, snap=400):
        for protocol in ("udp", "tcp"):
            lab.run("desk", "timeout", "3", "gst-launch-1.0", "rtspsrc", f"protocols={protocol}", "location=rtsp://192.0.2.20:8554/tone", "!", "fakesink", ok=None)
        lab.run("desk", "timeout", "3", "gst-launch-1.0", "rtspsrc", "location=rtsp://192.0.2.20:8554/nothing", "!", "fakesink", ok=None)
