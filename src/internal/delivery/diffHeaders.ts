/** Finds the fewest packets that turn one list of header fields into another. */
import type * as Packet from "../../Packet.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { bytes, ofParts } from "../bytes/byteString.ts"
import type { HeaderField, Inexact } from "./deliveryTypes.ts"
import { align, noIndex } from "./editScript.ts"
import { isMerged, ownFields } from "./sendmailQueue.ts"

/** `both`: the MTA is not known, so only packets with the same effect on either are used. */
export type Mta = "postfix" | "sendmail" | "both"

export type HeaderPacket = Packet.AddHeader | Packet.InsertHeader | Packet.ChangeHeader

interface HeaderDifference {
  readonly modifications: ReadonlyArray<HeaderPacket>
  readonly inexact: ReadonlyArray<Inexact>
}

/** Directly below the MTA's own Received field. */
const top = 1

/** Beyond the end of any header, and without overflow in a 32-bit Postfix, which adds to it. */
const beyondEnd = 0x3fffffff

/**
 * Fields that stay are not touched. Changes and deletions go by occurrence and from the last field to the first: Postfix counts
 * the fields that are left, Sendmail those that were there first, and in this order the numbers are the same. New fields follow:
 * above all others, in between, below all others; see {@link Inexact} for those in between.
 *
 * `leadingSpace`: this step was agreed on with the MTA. The values are those of `Delivery` in both cases, with their space.
 */
export const diffHeaders = (
  before: ReadonlyArray<HeaderField>,
  after: ReadonlyArray<HeaderField>,
  mta: Mta,
  leadingSpace: boolean
): HeaderDifference => {
  const wire = (field: HeaderField): ByteString =>
    // The MTA puts a space there itself.
    leadingSpace ? field.value : ofParts(field.value.replace(/^ /, ""))
  const names = { before: before.map(lowerName), after: after.map(lowerName) }
  const origins = align({
    left: before.length,
    right: after.length,
    equal: (left, right) => isSame(before[left]!, after[right]!),
    // An empty value would delete the field.
    changeable: (left, right) => names.before[left] === names.after[right] && wire(after[right]!) !== ""
  })
  if (mta !== "postfix") slideToEnds(before, after, origins)
  const inexact: Array<Inexact> = []
  for (const [index, field] of after.entries()) {
    const origin = before[origins[index]!]
    if (origin !== undefined && isSame(origin, field)) continue
    if (!leadingSpace && !field.value.startsWith(" ")) inexact.push({ _tag: "Space", index, field })
    if (mta !== "postfix" && origin !== undefined && origin.name !== field.name) {
      inexact.push({ _tag: "Name", index, field })
    }
  }
  const insert = (index: number, at: number): HeaderPacket => ({
    _tag: "InsertHeader",
    index,
    name: after[at]!.name,
    value: wire(after[at]!)
  })
  const { above, added, below, between, displaced } = placesOf(mta, names, origins)
  return {
    modifications: [
      ...changes(before, after, origins, names.before, wire),
      // Each inserted field moves the one before it down.
      ...above.toReversed().map((at) => insert(top, at)),
      ...added.map((at): HeaderPacket => ({ _tag: "AddHeader", name: after[at]!.name, value: wire(after[at]!) })),
      ...between.map(({ at, index }) => insert(index, at)),
      ...below.map((at) => insert(beyondEnd, at))
    ],
    inexact: [...inexact, ...displaced.map((at): Inexact => ({ _tag: "Place", index: at, field: after[at]! }))]
  }
}

const lowerName = ({ name }: HeaderField): string => name.toLowerCase()

const isSame = (left: HeaderField, right: HeaderField): boolean =>
  left.name === right.name && left.value === right.value

/** Adjacent new fields of the list on the right: from `start` up to, but not including, `end`. */
interface Run {
  readonly start: number
  readonly end: number
}

const runsOf = (origins: Int32Array): Array<Run> => {
  const runs: Array<Run> = []
  for (let at = 0; at < origins.length; at++) {
    if (origins[at] !== noIndex) continue
    const start = at
    while (origins[at] === noIndex) at++
    runs.push({ start, end: at })
  }
  return runs
}

const positions = (run: Run | undefined): Array<number> =>
  run === undefined ? [] : Array.from({ length: run.end - run.start }, (_, index) => run.start + index)

/** Of several equal fields side by side the new one may be the first or the last: rather one at an end of the header. */
const slideToEnds = (
  before: ReadonlyArray<HeaderField>,
  after: ReadonlyArray<HeaderField>,
  origins: Int32Array
): void => {
  /** Whether a field stays as it is and is equal to another. */
  const equals = (stays: number, other: number): boolean =>
    origins[stays] !== noIndex && isSame(before[origins[stays]!]!, after[stays]!) &&
    isSame(after[stays]!, after[other]!)
  const swap = (stays: number, other: number): void => {
    origins[other] = origins[stays]!
    origins[stays] = noIndex
  }
  for (const { end, start } of runsOf(origins)) {
    let up = 1
    while (up <= start && equals(start - up, end - up)) up++
    if (up > start) {
      for (let step = 1; step <= start; step++) swap(start - step, end - step)
      continue
    }
    const rest = after.length - end
    let down = 0
    while (down < rest && equals(end + down, start + down)) down++
    if (down === rest) {
      for (let step = 0; step < rest; step++) swap(end + step, start + step)
    }
  }
}

const changes = (
  before: ReadonlyArray<HeaderField>,
  after: ReadonlyArray<HeaderField>,
  origins: Int32Array,
  names: ReadonlyArray<string>,
  wire: (field: HeaderField) => ByteString
): ReadonlyArray<HeaderPacket> => {
  const successors = new Map<number, HeaderField>()
  for (const [at, origin] of origins.entries()) {
    if (origin !== noIndex) successors.set(origin, after[at]!)
  }
  const occurrences = new Map<string, number>()
  for (const name of names) occurrences.set(name, (occurrences.get(name) ?? 0) + 1)
  const packets: Array<HeaderPacket> = []
  for (let at = before.length - 1; at >= 0; at--) {
    const field = before[at]!
    const index = occurrences.get(names[at]!)!
    occurrences.set(names[at]!, index - 1)
    const successor = successors.get(at)
    if (successor === undefined) packets.push({ _tag: "ChangeHeader", index, name: field.name, value: nothing })
    else if (!isSame(field, successor)) {
      packets.push({ _tag: "ChangeHeader", index, name: successor.name, value: wire(successor) })
    }
  }
  return packets
}

const nothing = bytes``

/** Names in lower case. */
interface Names {
  readonly before: ReadonlyArray<string>
  readonly after: ReadonlyArray<string>
}

/** The new fields by the way to their place, in the order of their packets; `above` is in the reverse order. */
interface Places {
  readonly above: ReadonlyArray<number>
  readonly added: ReadonlyArray<number>
  readonly between: ReadonlyArray<{ readonly at: number; readonly index: number }>
  readonly below: ReadonlyArray<number>
  /** New fields that may get another place. */
  readonly displaced: ReadonlyArray<number>
}

const placesOf = (mta: Mta, names: Names, origins: Int32Array): Places => {
  const { length } = origins
  const runs = runsOf(origins)
  // If no field stays, all new fields go to the end.
  const above = positions(runs[0]?.start === 0 && runs[0].end < length ? runs.shift() : undefined)
  const below = positions(runs[runs.length - 1]?.end === length ? runs.pop() : undefined)
  const others = runs.flatMap(positions)
  switch (mta) {
    case "postfix":
      // The index counts the MTA's own Received field.
      return { above, added: [], between: others.map((at) => ({ at, index: at + 1 })), below, displaced: [] }
    case "sendmail": {
      const { added, between } = betweenInSendmail(names, origins, runs, above)
      return { above, added, between, below, displaced: between.map(({ at }) => at) }
    }
    case "both": {
      // No index has the same effect on both MTAs: use the nearer end.
      const isUpper = (at: number): boolean => at < length / 2
      return {
        above: [...above, ...others.filter(isUpper)],
        added: [],
        between: [],
        below: [...others.filter((at) => !isUpper(at)), ...below],
        displaced: others
      }
    }
  }
}

const own = new Set(ownFields.map((name) => name.toLowerCase()))

/**
 * Sendmail puts an added field above the first field of its name, even a deleted one. All other places need an index into its
 * list, which begins with the fields of sendmail.cf.
 */
const betweenInSendmail = (
  names: Names,
  origins: Int32Array,
  runs: ReadonlyArray<Run>,
  above: ReadonlyArray<number>
): Pick<Places, "added" | "between"> => {
  const first = new Map<string, number>()
  for (const [at, name] of names.before.entries()) {
    if (!first.has(name)) first.set(name, at)
  }
  const atTop = new Set(above.map((at) => names.after[at]))
  const canAdd = ({ end, start }: Run): boolean => {
    // In the gap between the field above and the field below, both of which stay.
    let from = origins[start - 1]! + 1
    for (let at = start; at < end; at++) {
      const name = names.after[at]!
      const place = first.get(name)
      if (place === undefined || place < from || place > origins[end]!) return false
      if (own.has(name) || isMerged(name) || atTop.has(name)) return false
      from = place
    }
    return true
  }
  const added: Array<number> = []
  const between: Array<{ readonly at: number; readonly index: number }> = []
  let newAbove = above.length
  for (const run of runs) {
    const isAdded = canAdd(run)
    // The new field comes after the entry with that index.
    const index = ownFields.length + origins[run.start - 1]! + newAbove
    for (const at of positions(run)) {
      if (isAdded) added.push(at)
      else between.push({ at, index: index + at - run.start })
      newAbove++
    }
  }
  // The lowest first: each goes above the existing fields of its name.
  return { added: added.toReversed(), between }
}
