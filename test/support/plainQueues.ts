/** The headers of the queue files, as plainly as possible: an array that is searched and spliced for each modification. */
import type { HeaderField } from "effect-milter/Delivery"
import { ownFields } from "../../src/internal/delivery/sendmailQueue.ts"

/** A modification of the header. An empty value deletes. */
export type Edit =
  | { readonly do: "add"; readonly name: string; readonly value: string }
  | { readonly do: "insert"; readonly index: number; readonly name: string; readonly value: string }
  | { readonly do: "change"; readonly index: number; readonly name: string; readonly value: string }

export interface PlainQueue {
  /** Whether the MTA survives. */
  readonly apply: (edits: ReadonlyArray<Edit>) => boolean
  /** `Name: value` for each field. */
  readonly shown: () => ReadonlyArray<string>
  readonly above: () => number
}

interface Field {
  readonly name: string
  value: string | undefined
  given: boolean
}

const isNamed = (name: string) => (field: Field): boolean => field.name.toLowerCase() === name.toLowerCase()

const fieldOf = ({ name, value }: { readonly name: string; readonly value: string }): Field => ({
  name,
  value,
  given: true
})

const shown = (fields: ReadonlyArray<Field>): ReadonlyArray<string> =>
  fields.filter(({ given, value }) => given && value !== undefined).map(({ name, value }) => `${name}:${value}`)

/** What is deleted is gone, and what is left is counted. */
export const postfix = (headers: ReadonlyArray<HeaderField>): PlainQueue => {
  const own: Field = { name: "Received", value: "", given: false }
  const fields: Array<Field> = [own, ...headers.map(fieldOf)]
  const carryOut = (edit: Edit): void => {
    const field = fieldOf(edit)
    if (edit.do === "add") fields.push(field)
    else if (edit.do === "insert") fields.splice(edit.index, 0, field)
    else {
      const found = fields.filter((other) => other !== own).filter(isNamed(edit.name))[Math.max(edit.index, 1) - 1]
      if (found !== undefined) fields.splice(fields.indexOf(found), 1, ...(edit.value === "" ? [] : [field]))
      else if (edit.value !== "") fields.push(field)
    }
  }
  return {
    apply: (edits) => {
      edits.forEach(carryOut)
      return true
    },
    shown: () => shown(fields),
    above: () => fields.indexOf(own)
  }
}

/** What a filter deletes goes on counting until the next filter; there are entries that nobody sees. */
const ofSendmail = (merged: ReadonlyArray<string>) => (headers: ReadonlyArray<HeaderField>): PlainQueue => {
  let survives = true
  const defaults = ownFields.map((name): Field => ({ name, value: undefined, given: false }))
  const own = defaults.find(isNamed("received"))!
  const fields: Array<Field> = [...defaults, ...headers.map(fieldOf)]
  const isVacant = (field: Field): boolean => !field.given && !isNamed("received")(field)
  const addAbove = (field: Field): void => {
    const at = fields.findIndex(isNamed(field.name))
    const first = fields[at]
    if (first === undefined) fields.push(field)
    else if (!merged.includes(field.name.toLowerCase())) fields.splice(at, 0, field)
    else if (first.value === undefined) survives = false
    else if (field.value!.trim() !== "") first.value += `, ${field.value}`
  }
  const carryOut = (edit: Edit): void => {
    const field = fieldOf(edit)
    const named = fields.filter(isNamed(edit.name))
    if (edit.do === "add") {
      const vacant = named.find(isVacant)
      if (vacant === undefined) addAbove(field)
      else Object.assign(vacant, { value: edit.value, given: true })
    } else if (edit.do === "insert") fields.splice(edit.index + 1, 0, field)
    else {
      const found = named.filter(({ given }) => given)[Math.max(edit.index, 1) - 1] ?? named.findLast(isVacant)
      if (edit.value === "") Object.assign(found ?? {}, { value: undefined })
      else if (found === undefined) addAbove(field)
      else Object.assign(found, { value: edit.value, given: true })
    }
  }
  return {
    apply: (edits) => {
      for (const field of fields) field.given &&= field.value !== undefined
      edits.forEach(carryOut)
      return survives
    },
    shown: () => shown(fields),
    above: () => shown(fields.slice(0, fields.indexOf(own))).length
  }
}

export const sendmail = ofSendmail([])

/** Appends to lists of recipients, and does not survive it where the first of them has been deleted. */
export const sendmail818 = ofSendmail(["to", "cc", "bcc", "apparently-to"])
