/**
 * Times, sizes and algorithms in the few letters that a table has room for.
 */
import { KEYWORDS, transformName } from '../negotiate/keywords.ts'

/** In at most five letters: `45s`, `12m`, `2h05m`, `14h`, `3d4h`, `21d`. */
export function formatTime(seconds: number): string {
  if (seconds < 0) return `-${formatTime(-seconds)}`
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(seconds / 3600)
  const days = Math.floor(seconds / 86_400)
  const rest = (count: number, unit: string): string => (count === 0 ? '' : `${count}${unit}`)
  if (days > 0) return `${days}d${days < 10 ? rest(hours % 24, 'h') : ''}`
  if (hours > 0) return `${hours}h${hours < 10 && minutes % 60 > 0 ? `${String(minutes % 60).padStart(2, '0')}m` : ''}`
  return minutes > 0 ? `${minutes}m` : `${Math.floor(seconds)}s`
}

/** In powers of 1000, with two or three digits that matter: `840 B`, `1.2 kB`, `34 MB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']
  let value = bytes
  let unit = 0
  // 999.5 would be written 1000.
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`
}

/** Keywords as in proposals by strongSwan's names of transforms: `aes256gcm16` for AES_GCM_16 and 256. */
const BY_NAME: ReadonlyMap<string, string> = new Map(
  // The first keyword of a transform is the one that is printed, so it is entered last.
  [...KEYWORDS]
    .toReversed()
    .map(([keyword, { type, id, keyLength }]) => [nameWith(transformName({ type, id }), keyLength), keyword]),
)

export function formatAlgorithm(name: string | null, keySize: string | null): string | null {
  if (name === null) return null
  return BY_NAME.get(nameWith(name, keySize)) ?? (keySize === null ? name : `${name}-${keySize}`)
}

function nameWith(name: string, keySize: string | number | null): string {
  return `${name} ${keySize ?? ''}`
}
