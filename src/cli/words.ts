/**
 * Times, sizes and algorithms in the few letters that a table has room for.
 */
import { KEYWORDS, transformName } from '../negotiate/keywords.ts'

/** The two largest units: `45s`, `12m 5s`, `2h 5m`, `3d 4h`. */
export function formatTime(seconds: number): string {
  if (seconds < 0) return `-${formatTime(-seconds)}`
  const units = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', Math.floor(seconds) % 60],
  ] as const
  const first = units.findIndex(([, count]) => count > 0)
  if (first < 0) return '0s'
  return units
    .slice(first, first + 2)
    .filter(([, count]) => count > 0)
    .map(([unit, count]) => `${count}${unit}`)
    .join(' ')
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
