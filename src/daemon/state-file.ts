/**
 * Where the next daemon finds what this one has in the kernel: as configured, in the directory that systemd has for it,
 * or in the usual place. Network namespaces have kernels of their own, so to speak, and files of their own.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'

import type { SystemSettings } from '../config/system.ts'
import { StateFile } from '../edge/state-file.ts'
import type { KernelKind } from './kernel-kind.ts'

const RUNTIME_DIRECTORY = '/run/espalier'

/** Null: it is not to be found, or the kernel goes with us. */
export function openStateFile(
  kind: KernelKind,
  { stateFile }: Pick<SystemSettings, 'stateFile'>,
  environment: Readonly<Record<string, string | undefined>>,
  onTrouble: (sentence: string) => void,
): StateFile | null {
  if (kind === 'memory' || stateFile === 'none') return null
  if (stateFile !== 'default') return new StateFile(stateFile.path, onTrouble)
  // systemd.exec(5): RuntimeDirectory= may name several, with colons between them.
  const [given] = (environment['RUNTIME_DIRECTORY'] ?? '').split(':')
  const namespace = statSync('/proc/self/ns/net', { throwIfNoEntry: false })?.ino ?? 0
  return new StateFile(join(given || RUNTIME_DIRECTORY, `state.${namespace}`), onTrouble)
}
