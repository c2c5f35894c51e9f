/**
 * Dates of the wall clock, as certificates write them: UTC in the Gregorian calendar to and from milliseconds since 1970.
 * Arithmetic only; what time it is comes in as an argument.
 */
import type { Milliseconds } from './time.ts'

/** UTC. Months and days begin at 1. */
export interface CalendarTime {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
}

/** Milliseconds since 1970 of a time, null if there is none such (30 February, 24:00, a leap second). Years from 0. */
export function fromCalendar({ year, month, day, hour, minute, second }: CalendarTime): Milliseconds | null {
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return null
  const days = daysOf(year, month, day)
  if (calendarDay(days).day !== day) return null
  return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000
}

/** The second a time lies in. */
export function toCalendar(time: Milliseconds): CalendarTime {
  const seconds = Math.floor(time / 1000)
  const days = Math.floor(seconds / 86_400)
  const rest = seconds - days * 86_400
  return { ...calendarDay(days), hour: Math.floor(rest / 3600), minute: Math.floor(rest / 60) % 60, second: rest % 60 }
}

/** `2026-01-31 08:15:00 UTC` */
export function formatCalendar(time: Milliseconds): string {
  const { year, month, day, hour, minute, second } = toCalendar(time)
  const two = (number: number): string => String(number).padStart(2, '0')
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)} UTC`
}

// Years begin in March here, so that the leap day is the last of its year; an era is 400 years, 146,097 days.

function daysOf(year: number, month: number, day: number): number {
  const marchYear = month <= 2 ? year - 1 : year
  const era = Math.floor(marchYear / 400)
  const yearOfEra = marchYear - era * 400
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * DAYS_OF_ERA + dayOfEra - DAYS_TO_1970
}

function calendarDay(days: number): { readonly year: number; readonly month: number; readonly day: number } {
  const shifted = days + DAYS_TO_1970
  const era = Math.floor(shifted / DAYS_OF_ERA)
  const dayOfEra = shifted - era * DAYS_OF_ERA
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return { year, month, day: dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1 }
}

const DAYS_OF_ERA = 146_097
/** From 1 March of the year 0 to 1 January 1970. */
const DAYS_TO_1970 = 719_468
