/**
 * The kernel's security associations and policies as `ip xfrm` prints them: on purpose not read through our own
 * netlink code, which is what the tests are about. `ip` has no JSON for these.
 */
import type { Host } from './network.ts'

export interface XfrmState {
  readonly source: string
  readonly destination: string
  readonly protocol: string
  readonly spi: number
  readonly reqid: number
  readonly mode: string
  /** Names as the kernel's crypto interface has them, "rfc4106(gcm(aes))"; keys are left out. */
  readonly algorithms: readonly string[]
  readonly encapsulation: { readonly type: string; readonly sourcePort: number; readonly destinationPort: number } | null
  readonly bytes: number
  readonly packets: number
  readonly text: string
}

export interface XfrmPolicy {
  readonly source: string
  readonly destination: string
  /** In ip's words: "src 10.1.0.0/24 dst 10.2.0.0/24 proto tcp dport 80". */
  readonly selector: string
  readonly direction: string
  readonly priority: number
  readonly templates: readonly { source: string; destination: string; protocol: string; reqid: number; mode: string }[]
  readonly text: string
}

export async function xfrmStates(host: Host): Promise<XfrmState[]> {
  return paragraphs(await host.run('ip', ['-s', 'xfrm', 'state'])).map((text) => {
    const encap = /encap type (\S+) sport (\d+) dport (\d+)/.exec(text)
    return {
      source: word(text, /^src (\S+)/),
      destination: word(text, /^src \S+ dst (\S+)/),
      protocol: word(text, /proto (\S+)/),
      spi: Number(word(text, /spi (0x[0-9a-f]+)/)),
      reqid: Number(word(text, /reqid (\d+)/)),
      mode: word(text, /mode (\S+)/),
      algorithms: [...text.matchAll(/^\s(?:aead|enc|auth|auth-trunc|comp) (\S+)/gm)].map((match) => match[1]!),
      encapsulation: encap === null ? null : { type: encap[1]!, sourcePort: Number(encap[2]), destinationPort: Number(encap[3]) },
      // With -s two lines read "N(bytes), N(packets)": under "lifetime current" what has passed, and only there.
      bytes: Number(word(text, /lifetime current:\s+(\d+)\(bytes\)/)),
      packets: Number(word(text, /lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)/)),
      text,
    }
  })
}

export async function xfrmPolicies(host: Host): Promise<XfrmPolicy[]> {
  // Every IKE socket has policies of its own, which let IKE itself pass; `ip` prints them with "socket" for a direction.
  const all = paragraphs(await host.run('ip', ['-s', 'xfrm', 'policy']))
  return all
    .filter((text) => !/\bsocket (in|out)\b/.test(text))
    .map((text) => ({
      source: word(text, /^src (\S+)/),
      destination: word(text, /^src \S+ dst (\S+)/),
      selector: word(text, /^(src \S+ dst \S+.*?) +uid /),
      direction: word(text, /\bdir (\S+)/),
      priority: Number(word(text, /\bpriority (\d+)/)),
      templates: [...text.matchAll(/tmpl src (\S+) dst (\S+)\s+proto (\S+) .*?reqid (\d+).*? mode (\S+)/g)].map((match) => ({
        source: match[1]!,
        destination: match[2]!,
        protocol: match[3]!,
        reqid: Number(match[4]),
        mode: match[5]!,
      })),
      text,
    }))
}

/** Entries begin at the margin and go on indented. */
function paragraphs(listing: string): string[] {
  return listing.split(/\n(?=src )/).filter((text) => text.startsWith('src '))
}

function word(text: string, pattern: RegExp): string {
  const match = pattern.exec(text)
  if (match === null) throw new Error(`no ${String(pattern)} in what ip xfrm printed:\n${text}`)
  return match[1]!
}
