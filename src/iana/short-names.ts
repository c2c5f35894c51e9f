/**
 * strongSwan's abbreviations, as its log has them in "parsed IKE_AUTH request 1 [ IDi N(INIT_CONTACT) AUTH ]". Numbers
 * are IANA's (ikev2.ts); a number that strongSwan has no abbreviation for is written `(16999)`, as it does.
 */

/** Numbers that follow one another, from `first` on. */
const run = (first: number, ...names: readonly string[]): [number, string][] => names.map((name, i) => [first + i, name])

const PAYLOADS = new Map([
  ...run(33, 'SA', 'KE', 'IDi', 'IDr', 'CERT', 'CERTREQ', 'AUTH', 'No', 'N', 'D', 'V', 'TSi', 'TSr', 'E', 'CP', 'EAP'),
  ...run(49, 'GSPM', 'IDg', 'GSA', 'KD', 'EF'),
])

// prettier-ignore
const NOTIFIES = new Map([
  ...run(1, 'CRIT'),
  ...run(4, 'INVAL_IKE_SPI', 'INVAL_MAJOR'),
  ...run(7, 'INVAL_SYN'),
  ...run(9, 'INVAL_MID'),
  ...run(11, 'INVAL_SPI'),
  ...run(14, 'NO_PROP'),
  ...run(17, 'INVAL_KE'),
  ...run(24, 'AUTH_FAILED'),
  ...run(34, 'SINGLE_PAIR', 'NO_ADD_SAS', 'INT_ADDR_FAIL', 'FAIL_CP_REQ', 'TS_UNACCEPT', 'INVAL_SEL'),
  ...run(40, 'UNACCEPT_ADDR', 'UNEXPECT_NAT', 'ASSIGNED_HoA', 'TEMP_FAIL', 'NO_CHILD_SA'),
  ...run(47, 'NO_STATE', 'MAX_QUEUE'),
  ...run(16384, 'INIT_CONTACT', 'SET_WINSIZE', 'ADD_TS_POSS', 'IPCOMP_SUP', 'NATD_S_IP', 'NATD_D_IP', 'COOKIE'),
  ...run(16391, 'USE_TRANSP', 'HTTP_CERT_LOOK', 'REKEY_SA', 'ESP_TFC_PAD_N', 'NON_FIRST_FRAG', 'MOBIKE_SUP'),
  ...run(16397, 'ADD_4_ADDR', 'ADD_6_ADDR', 'NO_ADD_ADDR', 'UPD_SA_ADDR', 'COOKIE2', 'NO_NATS', 'AUTH_LFT'),
  ...run(16404, 'MULT_AUTH', 'AUTH_FOLLOWS', 'REDIR_SUP', 'REDIR', 'REDIR_FROM', 'TKT_LT_OPAK', 'TKT_REQ', 'TKT_ACK'),
  ...run(16412, 'TKT_NACK', 'TKT_OPAK', 'LINK_ID', 'WESP_MODE', 'ROHC_SUP', 'EAP_ONLY', 'CHDLESS_SUP', 'CRASH_DET'),
  ...run(16420, 'MSG_ID_SYN_SUP', 'RPL_CTR_SYN_SUP', 'MSG_ID_SYN', 'RPL_CTR_SYN', 'SEC_PASSWD', 'PSK_PST', 'PSK_CFM'),
  ...run(16427, 'ERX_SUP', 'IFOM_CAP', 'SENDER_REQ_ID', 'FRAG_SUP', 'HASH_ALG'),
  ...run(16435, 'USE_PPK', 'PPK_ID', 'NO_PPK', 'IKE_INT_SUP'),
  ...run(16441, 'ADD_KE', 'AGGFRAG'),
  ...run(16444, 'RES_INFO'),
])

const CP_ATTRIBUTES = new Map([
  ...run(1, 'ADDR', 'MASK', 'DNS', 'NBNS', 'EXP', 'DHCP', 'VER', 'ADDR6', 'MASK6', 'DNS6', 'NBNS6', 'DHCP6', 'SUBNET', 'SUP'),
  ...run(15, 'SUBNET6', 'MIP6HPFX', 'LINK6', 'PFX6', 'HOA', 'PCSCF4', 'PCSCF6', 'FTTKAT', 'EXTSRC4', 'DPD', 'DOMAIN', 'TA'),
  ...run(23456, 'SRV', 'SRV6'),
  ...run(28672, 'U_BANNER', 'U_SAVEPWD', 'U_DEFDOM', 'U_SPLITDNS', 'U_SPLITINC', 'U_NATTPORT', 'U_LOCALLAN', 'U_PFS'),
  ...run(28680, 'U_FWTYPE', 'U_BKPSRV', 'U_DDNSHOST'),
])

const EAP_CODES = new Map(run(1, 'REQ', 'RES', 'SUCC', 'FAIL'))

const EAP_TYPES = new Map([
  ...run(1, 'ID', 'NTF', 'NAK', 'MD5', 'OTP', 'GTC'),
  ...run(13, 'TLS'),
  ...run(18, 'SIM'),
  ...run(21, 'TTLS'),
  ...run(23, 'AKA'),
  ...run(25, 'PEAP', 'MSCHAPV2'),
  ...run(33, 'MSTLV'),
  ...run(38, 'TNC'),
  ...run(54, 'PT'),
  ...run(254, 'EXP', 'XP'),
])

const nameIn =
  (names: ReadonlyMap<number, string>) =>
  (number: number): string =>
    names.get(number) ?? `(${number})`

export const shortPayloadName = nameIn(PAYLOADS)
export const shortNotifyName = nameIn(NOTIFIES)
export const shortCpAttributeName = nameIn(CP_ATTRIBUTES)
export const shortEapCodeName = nameIn(EAP_CODES)
export const shortEapTypeName = nameIn(EAP_TYPES)
