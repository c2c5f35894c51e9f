/**
 * What a kernel lacks for us, in sentences with the remedy. Pure: edge/netlink.ts asks the kernel, here is said what
 * the answers mean.
 */
import { assert } from '../base/assert.ts'
import { type Family, IpAddress } from '../base/ip.ts'
import { Secret } from '../crypto/secret.ts'
import { EncrId, IntegId } from '../iana/transforms.ts'
import type { Kernel } from '../ports.ts'
import { ERRNO } from './refusals.ts'
import { KernelError, NO_LIMITS, type KernelCapabilities, type State } from './vocabulary.ts'
import type { EspAlgorithms } from '../negotiate/algorithms.ts'
import { algorithmNames, cipherKeyLength, kernelCipher, kernelIntegrity } from './xfrm/algorithms.ts'

/** The kernel has no netlink family for XFRM, or will not let us have it. */
export function lackOfXfrm(reason: string): string {
  return `This kernel has no XFRM netlink (${reason}): load the module xfrm_user (modprobe xfrm_user) or use a kernel with CONFIG_XFRM_USER.`
}

/** EPERM for one of the first requests. */
export function lackOfPermission(): string {
  return 'The kernel does not let us configure IPsec: run as root or with the capability CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN in a systemd unit).'
}

/** The kernel answers, but not in the way the operation is defined. */
export function lackOfAnswer(error: KernelError): string {
  return `The kernel cannot be used for IPsec: ${error.message}.`
}

/** EPROTONOSUPPORT for a trial state of this family. */
export function lackOfEsp(family: Family): string {
  const [module, option] = family === 4 ? ['esp4', 'CONFIG_INET_ESP'] : ['esp6', 'CONFIG_INET6_ESP']
  return `This kernel has no ESP for IPv${family}: load the module ${module} (modprobe ${module}) or use a kernel with ${option}.`
}

/** A trial state with this algorithm was refused. `kernelText` is the kernel's own explanation. */
export function lackOfAlgorithm(choice: EspAlgorithms, kernelText: string | null): string {
  const why = kernelText === null ? '' : ` (it says: ${kernelText})`
  if (kernelCipher(choice.encryption.id) === null || (choice.integrity !== null && kernelIntegrity(choice.integrity) === null)) {
    return `Linux has no name for ${algorithmNames(choice)}: take it out of esp_proposals.`
  }
  const bits = choice.encryption.keyLength === null ? '' : ` and ${choice.encryption.keyLength} bit keys`
  const name = algorithmNames(choice)
  return `This kernel has no ESP with ${name}${bits}${why}: load its crypto modules or take the algorithm out of esp_proposals.`
}

/** What a trial state of one algorithm was answered. */
export interface Trial {
  readonly family: Family
  readonly choice: EspAlgorithms
  /** Null: the kernel took it. */
  readonly refusal: KernelError | null
}

/** AES-CBC with HMAC-SHA-256: in every kernel that has IPsec at all; whether it knows ESP shows behind the algorithms. */
const PLAIN: EspAlgorithms = {
  encryption: { id: EncrId.ENCR_AES_CBC, keyLength: 128 },
  integrity: IntegId.AUTH_HMAC_SHA2_256_128,
}

/** RFC 5737 and RFC 3849: nobody's addresses, so that a trial state is in nobody's way. */
const TRIAL_ADDRESSES: Record<Family, readonly [IpAddress, IpAddress]> = {
  4: [IpAddress.parse('192.0.2.1'), IpAddress.parse('192.0.2.2')],
  6: [IpAddress.parse('2001:db8::1'), IpAddress.parse('2001:db8::2')],
}

const TRIAL_ELSEWHERE = IpAddress.parse('192.0.2.3')
/** Nobody's: above those that we hand out. */
const TRIAL_REQID = 0xffff_fffe

/**
 * Tries a state of each algorithm in both families, and takes it back: configurations of kernels lie and modules may
 * be missing, only the attempt tells. Nothing is left behind. Never rejects.
 */
export async function probeKernel(
  kernel: Pick<Kernel, 'perform'>,
  algorithms: readonly EspAlgorithms[],
): Promise<KernelCapabilities> {
  const trials: Trial[] = []
  for (const family of [4, 6] as const) {
    const plain = await tryState(kernel, family, PLAIN)
    if (plain?.code === 'KERNEL_NOT_PERMITTED') return { missing: [lackOfPermission()], families: [], movesStates: false }
    if (plain === null || !speaksOfAlgorithm(plain)) trials.push({ family, choice: PLAIN, refusal: plain })
    for (const choice of algorithms) trials.push({ family, choice, refusal: await tryState(kernel, family, choice) })
  }
  return { missing: lacksOfTrials(trials), families: familiesOfTrials(trials), movesStates: await tryMove(kernel) }
}

/** The refusal, or null when the kernel took the state. */
async function tryState(kernel: Pick<Kernel, 'perform'>, family: Family, choice: EspAlgorithms): Promise<KernelError | null> {
  const state = await trialState(kernel, family, choice)
  if (state instanceof KernelError) return state
  const [addition] = await kernel.perform([
    { op: 'add-state', state },
    { op: 'delete-state', id: state },
  ])
  return addition?.kind === 'refused' ? addition.error : null
}

/** Whether a state can be had elsewhere in one go (CONFIG_XFRM_MIGRATE), and is there then. */
async function tryMove(kernel: Pick<Kernel, 'perform'>): Promise<boolean> {
  const state = await trialState(kernel, 4, PLAIN)
  if (state instanceof KernelError) return false
  const from = { ...state, reqid: TRIAL_REQID }
  const to = { ...from, source: TRIAL_ELSEWHERE, encapsulation: { sourcePort: 4501, destinationPort: 4500 } }
  const [, move] = await kernel.perform([
    { op: 'add-state', state: from },
    { op: 'move-state', from, to },
    { op: 'delete-state', id: state },
  ])
  return move?.kind === 'done'
}

/** With an SPI that is reserved for it; the refusal if there is none to be had. */
async function trialState(kernel: Pick<Kernel, 'perform'>, family: Family, choice: EspAlgorithms): Promise<State | KernelError> {
  const [source, destination] = TRIAL_ADDRESSES[family]
  const [allocation] = await kernel.perform([{ op: 'allocate-spi', source, destination, reqid: 0, mode: 'tunnel' }])
  assert(allocation !== undefined, 'an operation has an outcome')
  if (allocation.kind === 'refused') return allocation.error
  assert(allocation.kind === 'spi', 'an allocation is answered by an SPI')
  return {
    spi: allocation.spi,
    source,
    destination,
    direction: 'in',
    mode: 'tunnel',
    reqid: 0,
    ...trialKeying(choice),
    esn: false,
    replayWindow: 32,
    encapsulation: { sourcePort: 4500, destinationPort: 4500 },
    selector: null,
    limits: NO_LIMITS,
    copyDf: true,
    copyEcn: true,
    copyDscpOut: true,
    copyDscpIn: false,
    acquireSequence: 0,
    mark: null,
    setMark: null,
    ifId: 0,
  }
}

/** Keys of zeros, in the lengths the kernel expects; of transforms it has no name for, none: they are refused by name. */
function trialKeying({ encryption, integrity }: EspAlgorithms): Pick<State, 'encryption' | 'integrity'> {
  const cipher = kernelCipher(encryption.id)
  const length = cipher === null ? 0 : cipherKeyLength(cipher, encryption.keyLength)
  return {
    encryption: { ...encryption, key: new Secret(new Uint8Array(length)) },
    integrity:
      integrity === null ? null : { id: integrity, key: new Secret(new Uint8Array(kernelIntegrity(integrity)?.keyLength ?? 0)) },
  }
}

/**
 * The sentences for a row of trials: one about a family where the kernel has no ESP for it, one about each algorithm
 * it refuses, once even if both families do.
 */
export function lacksOfTrials(trials: readonly Trial[]): readonly string[] {
  const sentences = new Set<string>()
  for (const { family, choice, refusal } of trials) {
    if (refusal === null) continue
    if (refusal.code === 'KERNEL_NOT_PERMITTED') sentences.add(lackOfPermission())
    else if (isLackOfEsp(refusal)) sentences.add(lackOfEsp(family))
    else if (speaksOfAlgorithm(refusal)) sentences.add(lackOfAlgorithm(choice, refusal.kernelText))
    else sentences.add(lackOfAnswer(refusal))
  }
  return [...sentences]
}

/** Families that ESP was seen in: no trial failed but for its algorithm. */
export function familiesOfTrials(trials: readonly Trial[]): readonly Family[] {
  const unusable = trials.filter(({ refusal }) => refusal !== null && !speaksOfAlgorithm(refusal)).map((trial) => trial.family)
  const families: readonly Family[] = [4, 6]
  return families.filter((family) => !unusable.includes(family))
}

/** EPROTONOSUPPORT: no type "ESP" in the family; EAFNOSUPPORT: not even the family. About algorithms Linux says ENOSYS or ENOENT. */
function isLackOfEsp(refusal: KernelError): boolean {
  return refusal.errno === ERRNO.EPROTONOSUPPORT || refusal.errno === ERRNO.EAFNOSUPPORT
}

function speaksOfAlgorithm(refusal: KernelError): boolean {
  return refusal.code === 'KERNEL_UNSUPPORTED' && !isLackOfEsp(refusal)
}
