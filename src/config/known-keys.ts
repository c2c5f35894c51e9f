/**
 * Every key strongSwan knows in swanctl.conf and strongswan.conf, and what becomes of it here. Names, defaults and
 * value types are those of strongSwan 6.0 (swanctl.opt, conf/options). docs/configuration.md repeats the honoured ones;
 * test/config/documentation.test.ts compares.
 */
import { EspalierError } from '../base/errors.ts'
import { LOG_GROUPS } from './log-groups.ts'
import { parseBoolean, parseInteger } from './values.ts'

export type Treatment =
  /** Read and acted on. `fallback`: the default, as one writes it. */
  | { readonly kind: 'honoured'; readonly fallback: string; readonly meaning: string }
  /** Nothing to do about it: it concerns another program, or a way of working we don't have. */
  | { readonly kind: 'silent' }
  /** Read, and not honoured yet: a warning says what is not done, unless the value asks for nothing but what is done anyway. */
  | { readonly kind: 'unhonoured'; readonly lost: string; readonly unless: Harmless }
  /** Not honoured, and going on without it could let traffic or peers through that the user wanted kept out. */
  | { readonly kind: 'refused'; readonly lost: string; readonly unless: Harmless }

/** Whether a value asks for nothing that is not done. */
export type Harmless = (value: string) => boolean

/** What may stand in a section. Prefixed names have any suffix, so they are tried after exact ones. */
export interface SectionRules {
  readonly keys: Readonly<Record<string, Treatment>>
  readonly prefixedKeys: Readonly<Record<string, Treatment>>
  /** For keys of any name. */
  readonly otherKeys: Treatment | null
  readonly sections: Readonly<Record<string, SectionRules>>
  readonly prefixedSections: Readonly<Record<string, SectionRules>>
  /** For sections of any name. */
  readonly otherSections: SectionRules | null
  /** Set where the section is treated as one; its keys, if any are listed, still have to be known ones. */
  readonly whole: Treatment | null
  /** VICI compares the names of keys without regard to case, the settings library does not. */
  readonly foldCase: boolean
}

const honoured = (fallback: string, meaning: string): Treatment => ({ kind: 'honoured', fallback, meaning })
const unhonoured = (lost: string, unless: Harmless = never): Treatment => ({ kind: 'unhonoured', lost, unless })
const refused = (lost: string, unless: Harmless = never): Treatment => ({ kind: 'refused', lost, unless })
const SILENT: Treatment = { kind: 'silent' }

const NOTHING: SectionRules = {
  keys: {},
  prefixedKeys: {},
  otherKeys: null,
  sections: {},
  prefixedSections: {},
  otherSections: null,
  whole: null,
  foldCase: false,
}
const rules = (given: Partial<SectionRules>): SectionRules => ({ ...NOTHING, ...given })
const whole = (treatment: Treatment, ...keys: string[]): SectionRules => rules({ whole: treatment, keys: silently(...keys) })
const silently = (...names: string[]): Record<string, Treatment> => Object.fromEntries(names.map((name) => [name, SILENT]))

const TOKENS = 'keys and certificates on tokens are not read'
const MEDIATION = 'mediation is not supported'

const CHILD: SectionRules = rules({
  foldCase: true,
  keys: {
    ah_proposals: refused('AH is not supported'),
    esp_proposals: honoured('default', 'What is offered and accepted for ESP, best first, separated by commas.'),
    sha256_96: unhonoured('HMAC-SHA-256 is always cut to 128 bits, so that packets of a peer with 96 will be dropped', isNo),
    local_ts: honoured(
      'dynamic',
      'Traffic on our side, separated by commas: `10.1.0.0/16`, `10.0.0.1-10.0.0.9`, `dynamic` (our own address), each with `[protocol/port]` behind it.',
    ),
    remote_ts: honoured('dynamic', "Traffic on the peer's side, written as in `local_ts`."),
    rekey_time: honoured(
      '1h',
      'When a CHILD_SA is replaced by a new one with new keys; 0 for never. With only `life_time` given: that divided by 1.1.',
    ),
    life_time: honoured(
      '66m',
      'When a CHILD_SA that was not replaced is gone: it is deleted with the peer and made anew. Unless given, 110 % of `rekey_time`.',
    ),
    rand_time: honoured('6m', 'Up to how much is taken off `rekey_time` at random. Unless given, `life_time` less `rekey_time`.'),
    rekey_bytes: honoured('0', 'Octets in one direction after which a CHILD_SA is replaced; 0 for any number.'),
    life_bytes: honoured('0', 'Octets in one direction after which it is gone. Unless given, 110 % of `rekey_bytes`.'),
    rand_bytes: honoured(
      '0',
      'Up to how many are taken off `rekey_bytes` at random. Unless given, `life_bytes` less `rekey_bytes`.',
    ),
    rekey_packets: honoured(
      '0',
      'Packets in one direction after which a CHILD_SA is replaced; 0 for any number, of which there are four billion without `esn`.',
    ),
    life_packets: honoured('0', 'Packets in one direction after which it is gone. Unless given, 110 % of `rekey_packets`.'),
    rand_packets: honoured(
      '0',
      'Up to how many are taken off `rekey_packets` at random. Unless given, `life_packets` less `rekey_packets`.',
    ),
    updown: honoured(
      '',
      'A command for the shell, run for each pair of selectors when a CHILD_SA begins and when it ends, as [gateway.md](gateway.md#scripts) says; not when it is rekeyed.',
    ),
    hostaccess: honoured('no', 'Whether that command is told `PLUTO_HOST_ACCESS=1`: traffic of this machine itself is to pass.'),
    mode: honoured(
      'tunnel',
      '`tunnel` or `transport`; `pass` lets the traffic leave and come in the clear, `drop` drops what nothing else wants, both without a peer, from `start_action = trap` or `swanctl --install` on. Other modes are refused.',
    ),
    policies: refused('policies are always installed', isYes),
    policies_fwd_out: unhonoured('no outbound forward policies are installed', isNo),
    dpd_action: honoured(
      'none',
      'What becomes of a CHILD_SA whose peer is silent: `none` (or `clear`) nothing, `trap` waits for traffic, `start` (or `restart`) makes it again at once, in another IKE_SA of the connection that stands or a new one; `trap|start` both. Likewise with what a peer that says INITIAL_CONTACT does not bring along.',
    ),
    ipcomp: unhonoured('packets are not compressed', isNo),
    inactivity: honoured('0', 'After what time without a packet in either direction a CHILD_SA is closed; 0 for never.'),
    reqid: honoured('0', "A fixed reqid for the kernel's states and policies; 0 hands out one."),
    priority: honoured('0', 'A fixed priority of the policies; 0 calculates one from the selectors.'),
    interface: refused('policies without the interface would apply to other traffic', isEmpty),
    mark_in: honoured(
      '0/0x00000000',
      'Inbound policies are for packets with this Netfilter mark alone: `value`, `value/mask`, `%unique` for a number of its own for each CHILD_SA, `%unique-dir` for one for each direction.',
    ),
    mark_in_sa: honoured('no', 'The inbound state, too, is for packets with `mark_in` alone.'),
    mark_out: honoured('0/0x00000000', 'The same for outbound policies and the outbound state, written as in `mark_in`.'),
    set_mark_in: honoured(
      '0/0x00000000',
      'The mark that packets have after the inbound state: `value`, `value/mask`, `%same` for the value of `mark_in`.',
    ),
    set_mark_out: honoured(
      '0/0x00000000',
      'The mark that packets have after the outbound state, written as in `set_mark_in`; `%same` is the value of `mark_out`.',
    ),
    if_id_in: honoured(
      '0',
      'ID of the XFRM interface that inbound policies and the inbound state belong to: a number, `%unique` for one for each CHILD_SA, `%unique-dir` for one for each direction; 0 for that of the connection.',
    ),
    if_id_out: honoured(
      '0',
      'The same for outbound policies and the outbound state, written as in `if_id_in`. No route is installed then: it would lead past the interface.',
    ),
    label: refused('policies without the security label would apply to other traffic', isEmpty),
    label_mode: SILENT,
    tfc_padding: unhonoured('packets are not padded', isZero),
    replay_window: honoured(
      '32',
      'Packets of the window against replays, up to 4096; 0 switches it off. The default is that of `charon.replay_window`.',
    ),
    per_cpu_sas: unhonoured('one CHILD_SA serves all CPUs', isNo),
    hw_offload: unhonoured('the CPU encrypts', isNo),
    copy_df: honoured('yes', 'Copy the DF bit to the outer IPv4 header.'),
    copy_ecn: honoured('yes', 'Copy ECN to and from the outer header.'),
    copy_dscp: honoured('out', 'Copy DSCP: `out` to the outer header, `in` from it, `yes` both, `no` neither.'),
    icmp: unhonoured('ICMP errors of hosts outside the selectors are dropped', isNo),
    start_action: honoured(
      'none',
      'When the configuration is loaded: `none`, `start` to initiate, `trap` to wait for traffic that wants it, which is held back until then; `trap|start` both.',
    ),
    close_action: honoured('none', 'What becomes of a CHILD_SA that the peer closes: values as in `dpd_action`.'),
  },
})

const CERTIFICATE: SectionRules = rules({
  foldCase: true,
  keys: {
    file: honoured('', 'Absolute path of a certificate, PEM or DER.'),
    // authentication.ts refuses the handle.
    ...silently('handle', 'slot', 'module'),
  },
})

const LOCAL: SectionRules = rules({
  foldCase: true,
  keys: {
    round: honoured('0', 'Rounds of authentication come in the order of these numbers, and of the file where they are the same.'),
    auth: honoured(
      'pubkey',
      'How we authenticate: `pubkey` by a private key of ours, `psk` by a pre-shared key. Behind `pubkey`, `rsa`, `rsa/pss`, `ecdsa`, `ed25519` or `ed448` hashes may stand that we sign with, best first: `ecdsa-sha384-sha256`; with `ike:` before it, it is about IKE alone.',
    ),
    id: honoured('', 'Who we say we are; without it the subject of our certificate, without one our IP address.'),
    certs: honoured(
      '',
      'Certificates to show, separated by commas: files in `x509`, or absolute paths. The peer is shown the first that it asks for. Without any, the one among those loaded that has `id` in it.',
    ),
    pubkeys: honoured('', 'The same for raw public keys, in files of `pubkey`; the first is used.'),
    eap_id: unhonoured('EAP is not supported yet'),
    aaa_id: unhonoured('EAP is not supported yet'),
    xauth_id: unhonoured('XAuth is not supported'),
  },
  prefixedSections: { cert: CERTIFICATE },
})

const REMOTE: SectionRules = rules({
  foldCase: true,
  keys: {
    round: honoured('0', 'As on our side.'),
    auth: honoured(
      'pubkey',
      'How the peer has to authenticate: `pubkey` by a certificate or public key, `psk` by a pre-shared key; where it is not written, by either. `rsa-3072-ecdsa-256` asks for that many bits at least all along the chain, hashes behind it for signatures with these (certificates.md).',
    ),
    id: honoured(
      '%any',
      'Who the peer has to be: an identity, or `*.example.org`, `*@example.org`, a distinguished name with `*` values. Without it the subject of `certs`, if there are any.',
    ),
    eap_id: refused('EAP is not supported yet'),
    groups: honoured(
      '',
      'Groups, separated by commas, one of which the peer has to be in by an attribute certificate about its certificate: loaded from `x509ac`, or sent by it, and by an authority in `x509aa` (certificates.md).',
    ),
    cert_policy: honoured(
      '',
      "Object identifiers, separated by commas: policies that the peer's certificate has to be issued under, all of them.",
    ),
    certs: honoured(
      '',
      "Certificates, separated by commas, one of which has to be the peer's: files in `x509`, or absolute paths.",
    ),
    cacerts: honoured(
      '',
      "Certificates of authorities, separated by commas, one of which has to be in the chain of the peer's: files in `x509ca`, or absolute paths. Without any, every authority that is loaded will do.",
    ),
    ca_id: honoured(
      '',
      "Whom one authority in the chain of the peer's certificate has to be: its subject, or one of its other names. It need not be loaded itself.",
    ),
    pubkeys: honoured('', "Raw public keys, separated by commas, one of which has to be the peer's: files in `pubkey`."),
    revocation: honoured(
      'relaxed',
      '`strict` refuses a certificate that nobody has said to be good, `ifuri` only one that names somebody to ask who gives no answer, `relaxed` only one that is known to be revoked.',
    ),
  },
  prefixedSections: { cert: CERTIFICATE, cacert: CERTIFICATE },
})

const CONNECTION: SectionRules = rules({
  foldCase: true,
  keys: {
    version: honoured('0', 'IKE version: 2, or 0, which is the same here. 1 is refused.'),
    local_addrs: honoured('%any', 'Our addresses, separated by commas: addresses, subnets, ranges, host names.'),
    remote_addrs: honoured(
      '%any',
      "The peer's addresses, written as in `local_addrs`. To initiate, one has to be a single address or a name.",
    ),
    local_port: honoured('500', 'Our UDP port: that of `charon.port` or `charon.port_nat_t`.'),
    remote_port: honoured(
      '500',
      "The peer's UDP port. With 500, IKE moves to 4500 where NAT traversal asks for it; any other port is taken to be one for NAT traversal from the first message on.",
    ),
    proposals: honoured('default', 'What is offered and accepted for IKE, best first, separated by commas.'),
    vips: honoured(
      '',
      'Virtual addresses to ask for, separated by commas; `0.0.0.0` and `::` for any. What `dynamic` in `local_ts` then means.',
    ),
    aggressive: SILENT,
    pull: SILENT,
    dscp: unhonoured('IKE packets are sent with DSCP 0', (value) => /^0+$/.test(value)),
    encap: honoured('no', 'Pretend a NAT, so that ESP always travels in UDP.'),
    nat: honoured(
      'allow',
      'Ours alone, charon does not know it. `refuse` has no IKE_SA where a NAT is found, and forbids them to the peer as well (NO_NATS_ALLOWED, RFC 4555). Not together with `encap = yes`.',
    ),
    public_addrs: honoured(
      '',
      "Ours alone, charon does not know it. The addresses that a 1:1 NAT (a cloud's) gives to ours, separated by commas, one for each IP version: it is then no NAT to either side, and ESP travels without UDP. Not for transport mode.",
    ),
    mobike: honoured('yes', 'Let addresses change under the IKE_SA (RFC 4555).'),
    keep_alive: honoured(
      'charon.keep_alive',
      "Ours alone: time without a packet after which a keepalive holds the NAT's mapping, for this connection instead of `charon.keep_alive`; 0 switches keepalives off. `adaptive` finds out how seldom they may be (nat-traversal.md).",
    ),
    dpd_delay: honoured(
      '0s',
      'After what time without a message of the peer (or a packet, of ESP in UDP) it is asked whether it is there; one that stays silent through all retransmissions is given up. 0 for never.',
    ),
    dpd_timeout: SILENT,
    fragmentation: honoured(
      'yes',
      '`yes` sends long IKE messages in fragments to a peer that takes them (RFC 7383), `accept` only takes them, `no` neither; `force` is `yes`.',
    ),
    childless: honoured(
      'allow',
      'IKE_SAs without a CHILD_SA (RFC 6023): `allow` takes those of a peer, `prefer` also makes the first CHILD_SA after the IKE_SA wherever the peer takes that, `force` takes and makes no others, `never` takes none.',
    ),
    send_certreq: honoured('yes', 'Tell the peer which authorities we trust.'),
    send_cert: honoured(
      'ifasked',
      'When our certificate is sent: `ifasked` when the peer asks for any, `always`, `never` (it has it then).',
    ),
    ocsp: honoured(
      'reply',
      'OCSP answers in IKE (RFC 4806): `reply` gives them to a peer that asks, `request` asks the peer, `both`, `never`.',
    ),
    ppk_id: unhonoured('post-quantum pre-shared keys are not supported yet'),
    ppk_required: refused(
      'post-quantum pre-shared keys are not supported yet, and without one the keys are weaker than asked for',
      isNo,
    ),
    keyingtries: honoured('1', 'How often to try an initiation that got no answer; 0 for ever.'),
    unique: honoured(
      'no',
      'What becomes of IKE_SAs that a peer has already when it makes another: `no` keeps them unless the peer says INITIAL_CONTACT, `replace` deletes them, `keep` refuses the new one unless it comes from the very same endpoint, `never` keeps them in any case and does not say INITIAL_CONTACT itself.',
    ),
    reauth_time: honoured(
      '0',
      'When the IKE_SA and its CHILD_SAs are made anew from the beginning, authentication included; 0 for never. Who has given the peer a virtual address does not begin that, but tells the peer by when it has to (RFC 4478), and so do others: we come in time, whatever is set here. See `charon.make_before_break`.',
    ),
    rekey_time: honoured('4h', 'When the IKE_SA gets new keys; 0 for never, which is the default where `reauth_time` is given.'),
    over_time: honoured(
      '24m',
      'How long after either should have happened the IKE_SA is deleted if neither did. Unless given, 10 % of the longer of the two.',
    ),
    rand_time: honoured(
      '24m',
      'Up to how much is taken off `rekey_time` and `reauth_time` at random. Unless given, `over_time`.',
    ),
    pools: honoured(
      '',
      'Pools that peers are given virtual addresses of, by name. A peer that asks for none then gets no CHILD_SA.',
    ),
    if_id_in: honoured(
      '0',
      "`if_id_in` of children that have none of their own; `%unique` and `%unique-dir` are one number for each IKE_SA, or for each of its directions, and its successors' when it is rekeyed.",
    ),
    if_id_out: honoured('0', 'The same for `if_id_out`.'),
    mediation: unhonoured(MEDIATION, isNo),
    mediated_by: unhonoured(MEDIATION),
    mediation_peer: unhonoured(MEDIATION),
  },
  sections: { children: rules({ otherSections: CHILD }) },
  prefixedSections: { local: LOCAL, remote: REMOTE },
})

const OWNERS = silently('id')
const sharedSecret = (lost: string): SectionRules => ({ ...whole(unhonoured(lost), 'secret'), prefixedKeys: OWNERS })
const passphrase = (of: string): SectionRules =>
  rules({
    keys: { file: honoured('', `Name of the file in \`${of}\`.`) },
    prefixedKeys: { secret: honoured('', 'Its passphrase, as it is; with several, whichever does.') },
  })

const SECRETS: SectionRules = rules({
  prefixedSections: {
    ike: rules({
      keys: { secret: honoured('', 'The pre-shared key: text, hexadecimal behind `0x` or base64 behind `0s`.') },
      prefixedKeys: {
        id: honoured('', "Whose key it is; any suffix makes it a list (`id-1`, `id-2`). Without any it is everyone's."),
      },
    }),
    eap: sharedSecret('EAP is not supported yet'),
    xauth: sharedSecret('EAP is not supported yet'),
    ntlm: sharedSecret('EAP is not supported yet'),
    ppk: sharedSecret('post-quantum pre-shared keys are not supported yet'),
    private: passphrase('private'),
    rsa: passphrase('rsa'),
    ecdsa: passphrase('ecdsa'),
    pkcs8: passphrase('pkcs8'),
    pkcs12: passphrase('pkcs12'),
    token: whole(refused(TOKENS), 'handle', 'slot', 'module', 'pin'),
  },
})

/** Attributes by name, or by number. */
const POOL_ATTRIBUTES = [
  'address',
  'dns',
  'nbns',
  'dhcp',
  'netmask',
  'server',
  'subnet',
  'p_cscf',
  'split_include',
  'split_exclude',
]
const POOL: SectionRules = rules({
  keys: {
    addrs: honoured(
      '',
      'Subnet or range that clients are given addresses of. Of a subnet, neither its own address nor the last.',
    ),
    ...Object.fromEntries(
      POOL_ATTRIBUTES.map((key) => [
        key,
        honoured('', 'Addresses or subnets of this kind that clients are told besides their own.'),
      ]),
    ),
  },
  prefixedKeys: Object.fromEntries(
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'].map((digit) => [
      digit,
      honoured('', 'An attribute that has this number: addresses, or any text.'),
    ]),
  ),
})

export const SWANCTL: SectionRules = rules({
  sections: {
    connections: rules({ otherSections: CONNECTION }),
    secrets: SECRETS,
    pools: rules({ otherSections: POOL }),
    authorities: rules({
      otherSections: rules({
        keys: {
          cacert: honoured('', 'The certificate of the authority: a file in `x509ca`, or an absolute path.'),
          file: honoured('', 'The same, always an absolute path.'),
          ...silently('handle', 'slot', 'module'),
          crl_uris: honoured(
            '',
            'Where its certificate revocation lists are, separated by commas: `http://` or `file://`. Asked besides those that certificates name.',
          ),
          ocsp_uris: honoured('', 'Who answers OCSP requests about its certificates, separated by commas: `http://`.'),
          cert_uri_base: unhonoured('certificates are sent whole, not as their hash and URL'),
        },
      }),
    }),
  },
})

const SYSLOG: SectionRules = whole(
  unhonoured('nothing goes to syslog; the log is standard output, for the journal, and the files of filelog'),
)
// The manual has the groups in a sentence.
const LOG_LEVELS = {
  default: honoured(
    '1',
    'Level of every group that has none of its own: -1 nothing, 0 what matters most, 1 the course of things, 2 details.',
  ),
  ...silently(...LOG_GROUPS),
}
const JOURNAL: SectionRules = rules({ keys: LOG_LEVELS })
const LOG_FILE: SectionRules = rules({
  keys: {
    path: honoured('', 'The file. Without it, the name of the section is its path; `stdout` and `stderr` are what they say.'),
    ...LOG_LEVELS,
    append: honoured('yes', 'Whether what is in the file stays when the daemon starts or reloads.'),
    ike_name: honoured('no', 'Whether a line of an IKE_SA begins with its name and number.'),
    log_level: honoured('no', 'Whether the level stands behind the group: `[IKE1]`.'),
    time_format: honoured('', 'A time before each line, as strftime(3) has it: `%b %e %T`. Without it there is none.'),
    time_add_ms: unhonoured('times in log files have no fractions', isNo),
    time_precision: unhonoured('times in log files have no fractions', isEmpty),
    json: unhonoured('log files are text; standard output is JSON', isNo),
    // Every line is written at once.
    ...silently('flush_line'),
  },
})
const SCRIPTS: SectionRules = whole(unhonoured('no scripts are run'))
const TLS: SectionRules = whole(unhonoured('TLS-based EAP methods are not supported yet'))
const TRUSTED_NETWORK = whole(unhonoured('Trusted Network Connect is not supported'))

const ATTR: SectionRules = rules({
  keys: {
    load: SILENT,
    ...Object.fromEntries(
      POOL_ATTRIBUTES.filter((key) => !key.startsWith('split')).map((key) => [
        key.replace('_', '-'),
        honoured('', 'The same as in a pool, for every client that gets a virtual address.'),
      ]),
    ),
    // Of IKEv1, where they stand here.
    ...silently('split-include', 'split-exclude'),
  },
  prefixedKeys: Object.fromEntries(
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'].map((digit) => [
      digit,
      honoured('', 'An attribute that has this number: addresses, or any text.'),
    ]),
  ),
})

const RESOLVE: SectionRules = rules({
  keys: {
    load: honoured('yes', 'Whether name servers that a peer gives with a virtual address are put into the resolver.'),
    file: honoured(
      '/etc/resolv.conf',
      'The file they are written to, where there is neither resolvconf(8) nor systemd-resolved.',
    ),
  },
  sections: {
    resolvconf: rules({
      keys: {
        path: honoured(
          '',
          'resolvconf(8), or another command of its kind, for the shell. Without it: `/sbin/resolvconf` if there is one, else `resolvectl` where systemd-resolved runs, else the file.',
        ),
        iface: honoured('lo.ipsec', 'The name under which it is told of them.'),
      },
    }),
  },
})

const CHARON: SectionRules = rules({
  keys: {
    port: honoured('500', 'UDP port of IKE; 0 takes any.'),
    port_nat_t: honoured('4500', 'UDP port of IKE and ESP behind NAT; 0 takes any.'),
    keep_alive: honoured(
      '20s',
      "Time without a packet after which a keepalive holds the NAT's mapping; 0 switches keepalives off.",
    ),
    keep_alive_dpd_margin: honoured(
      '0s',
      'If a keepalive comes later than this, the peer is asked whether it is still there; 0 switches that off.',
    ),
    retransmit_timeout: honoured('4.0', 'Seconds until a request is first sent again.'),
    retransmit_base: honoured('1.8', 'Factor from one wait to the next.'),
    retransmit_tries: honoured('5', 'How often a request is sent again before the peer is given up.'),
    retransmit_jitter: honoured('0', 'Percent, up to 20, by which a wait may be shortened at random.'),
    retransmit_limit: honoured('0', 'Longest wait in seconds; 0 for none.'),
    cookie_threshold: honoured('30', 'Half-open IKE_SAs from which on initiators have to return a cookie; 0 never asks.'),
    cookie_threshold_ip: honoured('3', 'The same for those of one source address.'),
    half_open_timeout: honoured('30', 'Seconds until an IKE_SA that was only begun is forgotten.'),
    init_limit_half_open: honoured(
      '0',
      'Half-open IKE_SAs from which on requests for more are ignored, and a VICI client that asks for limits may not initiate; 0 for no limit.',
    ),
    init_limit_job_load: honoured('0', 'The same, for pieces of work that wait.'),
    dos_protection: honoured('yes', '`no` sets both cookie thresholds and `block_threshold` to 0.'),
    replay_window: honoured('32', 'Default of `replay_window` in the children.'),
    accept_private_algs: unhonoured('private algorithm numbers are not accepted', isNo),
    block_threshold: honoured(
      '5',
      'Half-open IKE_SAs of one source address from which on it has to return a cookie in any case, and is not answered if that is a wrong one. Whoever behind it returns the right one gets in (strongSwan ignores all); 0 for never.',
    ),
    cache_crls: honoured(
      'no',
      'Whether CRLs that were fetched are written to `x509crl` in the directory of swanctl.conf, where the next start finds them.',
    ),
    cert_cache: honoured(
      'yes',
      'Whether CRLs and OCSP answers that were fetched are kept for the next handshake, until they are stale.',
    ),
    check_current_path: honoured(
      'no',
      'When routes or addresses have changed and the path is still there, ask the peer whether it is.',
    ),
    close_ike_on_child_failure: honoured('no', 'An IKE_SA goes when the CHILD_SA that was to come with it fails.'),
    delete_rekeyed_delay: honoured('5', 'Seconds for which packets are let in on a CHILD_SA that was replaced and deleted.'),
    dns1: honoured('', 'A DNS server that every client is told of which gets a virtual address, whatever its pool says.'),
    dns2: honoured('', 'Another one.'),
    nbns1: honoured('', 'The same for WINS.'),
    nbns2: honoured('', 'Another one.'),
    multiple_authentication: honoured('yes', 'Several rounds of authentication (RFC 4739).'),
    rsa_pss: honoured('no', 'Sign with RSASSA-PSS before PKCS#1 v1.5; hashes in `auth` mean both.'),
    signature_authentication: honoured('yes', 'Signatures in IKE as RFC 7427 has them; `no` uses the methods before it alone.'),
    signature_authentication_constraints: honoured(
      'yes',
      'What `auth` asks of certificates counts for the signature in IKE, too, unless it says something of that by `ike:`.',
    ),
    follow_redirects: honoured('yes', 'A gateway may send us to another one (RFC 5685).'),
    fragment_size: honoured(
      '1280',
      'Octets of an IP datagram, headers and all, from which on an IKE message goes in fragments; 0 for 576 over IPv4 and 1280 over IPv6. At least 128 octets of IKE are in each.',
    ),
    fragment_size_v4: honoured('0', 'The same over IPv4; 0 for `fragment_size`.'),
    fragment_size_v6: honoured('0', 'The same over IPv6; 0 for `fragment_size`.'),
    group: unhonoured('the process keeps its group'),
    user: unhonoured('the process keeps its user'),
    hash_and_url: unhonoured('certificates are sent whole, not as their hash and URL', isNo),
    ignore_routing_tables: unhonoured('all routing tables are looked at'),
    ikesa_limit: honoured('0', 'IKE_SAs from which on requests for more are ignored; 0 for no limit.'),
    inactivity_close_ike: honoured('no', 'An idle CHILD_SA that is the only one takes its IKE_SA with it.'),
    initiator_only: refused('requests of other initiators would be answered', isNo),
    install_routes: honoured(
      'yes',
      'Give each network behind a tunnel a route, where we have an address on this side of the tunnel, which packets then have; with the MTU that fits.',
    ),
    install_virtual_ip: honoured('yes', 'Put virtual addresses that peers give us on the interface that leads to the peer.'),
    install_virtual_ip_on: honoured('', 'Put them on the interface of this name instead, if there is one.'),
    interfaces_ignore: honoured(
      '',
      'Interfaces, separated by commas, that are treated as if they were not there: IKE is neither answered nor sent there.',
    ),
    interfaces_use: honoured('', 'The same the other way round: interfaces that alone are used.'),
    lease_file: honoured(
      '/var/lib/espalier/leases',
      'Ours alone, charon does not know it. The file in which it outlives the daemon who has which virtual address of `pools`; `none` keeps none. Where systemd gives the daemon a `StateDirectory`, `leases` in that is the default. The directory is made, those above it are not.',
    ),
    make_before_break: honoured(
      'yes',
      'Reauthenticate by making the new IKE_SA first and deleting the old one afterwards; `no` deletes first.',
    ),
    max_packet: honoured('10000', 'Octets that an IKE message may have which arrives in fragments.'),
    ocsp_nonce_len: honoured('32', 'Octets, from 1 to 32, of the nonce in our OCSP requests.'),
    prefer_best_path: honoured(
      'no',
      'With MOBIKE, leave a path that works for the one the kernel would choose, whenever routes change; `no` keeps it.',
    ),
    prefer_configured_proposals: unhonoured('the order of our proposals decides', isYes),
    prefer_temporary_addrs: honoured(
      'no',
      'Of our IPv6 addresses those that change for privacy are sent from, and told to peers (MOBIKE), where there are any; `no` those that stay. Read at start.',
    ),
    process_route: honoured('yes', 'News of routes, and of rules, is followed, not of links and addresses alone. Read at start.'),
    rdn_matching: unhonoured('attributes of distinguished names have to match in order', oneOf('strict')),
    reqid_base: unhonoured('reqids start with 1', (value) => value === '1'),
    retry_initiate_interval: honoured(
      '0s',
      'After what time an initiation is tried again that found no address for the name of its peer, or no route; 0 for never.',
    ),
    reuse_ikesa: unhonoured('an existing IKE_SA is used', isYes),
    routing_table: honoured('220', 'The routing table of those routes.'),
    routing_table_prio: honoured('220', 'Priority of the rule that has this table looked at.'),
    state_file: honoured(
      '/run/espalier/state.<namespace>',
      'Ours alone, charon does not know it. The file in which the next daemon finds what this one has in the kernel, and, after SIGUSR2, all it needs to go on with it, keys included; `none` keeps none. It belongs where it does not outlive the machine. Where systemd gives the daemon a `RuntimeDirectory`, the default is in that.',
    ),
    send_vendor_id: unhonoured('no vendor ID is sent', isNo),
    spi_label: unhonoured('SPIs have no label', isZero),
    spi_mask: unhonoured('SPIs have no label', isZero),
    spi_min: unhonoured('the kernel chooses SPIs'),
    spi_max: unhonoured('the kernel chooses SPIs'),
    ...silently(
      // IKEv1, certificates, EAP: nothing of the kind is done, and the connections that ask for it are told so.
      'accept_unencrypted_mainmode_messages',
      'cisco_flexvpn',
      'delete_rekeyed',
      'cisco_unity',
      'dh_exponent_ansi_x9_42',
      'force_eap_only_authentication',
      'i_dont_care_about_security_and_use_aggressive_mode_psk',
      'max_ikev1_exchanges',
      'reject_trusted_end_entity',
      'rsa_pss_trailerfield',
      'flush_auth_cfg',
      'ignore_acquire_ts',
      // How charon works inside, and its tests.
      'dlopen_use_rtld_now',
      'ikesa_table_segments',
      'ikesa_table_size',
      'integrity_test',
      'load',
      'load_modular',
      'threads',
      'receive_delay',
      'receive_delay_response',
      'receive_delay_request',
      'receive_delay_type',
      'send_delay',
      'send_delay_response',
      'send_delay_request',
      'send_delay_type',
    ),
  },
  sections: {
    'filelog': rules({ otherSections: LOG_FILE }),
    'syslog': SYSLOG,
    'journal': JOURNAL,
    'plugins': rules({
      sections: {
        attr: ATTR,
        resolve: RESOLVE,
        revocation: rules({
          keys: {
            load: honoured(
              'yes',
              'Whether anybody is asked if certificates are revoked. Without it every `revocation` is fulfilled.',
            ),
            enable_ocsp: honoured('yes', 'The same of OCSP responders.'),
            enable_crl: honoured('yes', 'The same of certificate revocation lists.'),
            timeout: honoured('10s', 'For each of these that is fetched.'),
          },
        }),
        updown: rules({
          keys: {
            load: honoured('yes', 'Whether the commands of `updown` in the children are run at all.'),
            dns_handler: honoured(
              'no',
              'Whether name servers that a peer tells us are theirs (`PLUTO_DNS4_1` and so on), and not put into the resolver as below.',
            ),
          },
        }),
        vici: rules({
          keys: {
            load: honoured('yes', 'Whether to listen for `swanctl` and other VICI clients at all.'),
            socket: honoured(
              'unix:///var/run/charon.vici',
              'Where. Also `tcp://127.0.0.1:4502` or `tcp://[::1]:4502`: whoever has an account on this machine then commands the daemon.',
            ),
          },
        }),
      },
      otherSections: rules({
        keys: { load: SILENT },
        otherKeys: unhonoured('espalier has no such plugin'),
        otherSections: whole(unhonoured('espalier has no such plugin')),
      }),
    }),
    'start-scripts': SCRIPTS,
    'stop-scripts': SCRIPTS,
    'tls': TLS,
    'imcv': TRUSTED_NETWORK,
    'tnc': TRUSTED_NETWORK,
    'iptfs': whole(unhonoured('IP-TFS is not supported')),
    'x509': whole(SILENT),
    'crypto_test': whole(SILENT),
    'host_resolver': whole(SILENT),
    'leak_detective': whole(SILENT),
    'processor': whole(SILENT),
  },
})

/** Sections of other programs and of libraries we don't have: no business of this daemon. */
const OTHER_PROGRAMS = [
  'aikgen',
  'attest',
  'charon-cmd',
  'charon-nm',
  'charon-svc',
  'charon-tkm',
  'conftest',
  'imv_policy_manager',
  'manager',
  'medcli',
  'medsrv',
  'openac',
  'pki',
  'pool',
  'pt-tls-client',
  'scepclient',
  'sec-updater',
  'starter',
  'sw-collector',
  'swanctl',
  'tpm_extendpcr',
  'libimcv',
  'libstrongswan',
  'libtls',
  'libtnccs',
]

/** strongSwan's systemd daemon, whose place we take, reads `charon-systemd` first and `charon` for what is not there. */
export const STRONGSWAN: SectionRules = rules({
  sections: {
    'charon': CHARON,
    'charon-systemd': CHARON,
    ...Object.fromEntries(OTHER_PROGRAMS.map((name) => [name, whole(SILENT)])),
  },
})

function never(): boolean {
  return false
}
function isNo(value: string): boolean {
  return holds(() => !parseBoolean(value))
}
function isYes(value: string): boolean {
  return holds(() => parseBoolean(value))
}
function isZero(value: string): boolean {
  return holds(() => parseInteger(value.replace(/^0x0+$/i, '0'), 0, 0) === 0)
}

function isEmpty(value: string): boolean {
  return value === ''
}
function oneOf(...words: string[]): Harmless {
  return (value) => words.includes(value.toLowerCase())
}
/** A value that cannot be read is not harmless. */
function holds(condition: () => boolean): boolean {
  try {
    return condition()
  } catch (error) {
    if (error instanceof EspalierError) return false
    throw error
  }
}
