/** Messages and edits at random: names that come often and in both cases, positions that are there and that are not. */
import * as Effect from "effect/Effect"
import type { Mail } from "../../../testbed/smtpClient.ts"
import type { Random } from "../../support/random.ts"
import type { Edit } from "./delivering.ts"

/** Some are fields that Sendmail has a place of its own for. */
const names = ["X-A", "x-a", "X-B", "Subject", "To", "Received", "Date", "Message-Id", "X-New"]

const addresses = ["bob@test.example", "carol@test.example", "Carol@test.example", "dan@test.example"]

const valueOf = (random: Random, name: string, number: number): string => {
  switch (name.toLowerCase()) {
    case "to":
      return `to${number}@test.example`
    case "date":
      return `Mon, 01 Jan 2024 00:00:${10 + number} +0000`
    case "message-id":
      return `<${number}@example.org>`
    case "received":
      return `from a${number} by b; Mon, 01 Jan 2024 00:00:00 +0000`
    default:
      return random.pick([
        `v${number}`,
        `v${number}`,
        `v${number}\r\n\tfolded`,
        `v${number}\r\n  twice\r\n  folded`,
        ""
      ])
  }
}

const bodyOf = (random: Random): string =>
  Array.from({ length: random.between(0, 4) }, () => random.pick(["line\r\n", "\r\n", ".\r\n", "b\xe9\r\n"])).join("")

/** One edit and what to call it. */
const editOf = (random: Random, number: number): readonly [string, Edit] => {
  const name = random.pick(names)
  const occurrence = random.between(1, 4)
  const address = random.pick(addresses)
  const value = valueOf(random, name, number)
  switch (random.between(0, 10)) {
    case 0:
    case 1:
      return [`addHeader ${name}: ${value}`, (edit) => edit.addHeader(name, value)]
    case 2:
    case 3: {
      const index = random.pick([0, 1, 1, 2, 3, 5, 8, 10, 12, 15, 1000])
      return [`insertHeader ${index} ${name}: ${value}`, (edit) => edit.insertHeader(index, name, value)]
    }
    case 4:
    case 5:
      return [`changeHeader ${name} ${occurrence}: ${value}`, (edit) => edit.changeHeader(name, occurrence, value)]
    case 6:
    case 7:
      return [`deleteHeader ${name} ${occurrence}`, (edit) => edit.deleteHeader(name, occurrence)]
    case 8:
      return random.chance(0.5)
        ? [`addRecipient ${address}`, (edit) => edit.addRecipient(address)]
        : [`addRecipient ${address} NOTIFY`, (edit) => edit.addRecipientWithParameters(address, "NOTIFY=NEVER")]
    case 9:
      return [`deleteRecipient ${address}`, (edit) => edit.deleteRecipient(address)]
    default: {
      if (random.chance(0.5)) {
        const sender = random.pick(["", "carol@example.org", "Carol@Example.org"])
        return [`changeSender <${sender}>`, (edit) => edit.changeSender(sender)]
      }
      const body = bodyOf(random)
      return [`replaceBody ${JSON.stringify(body)}`, (edit) => edit.replaceBody(Buffer.from(body, "latin1"))]
    }
  }
}

/** A message and what a filter makes of it. One recipient stays, since nothing is delivered without one. */
export const make = (random: Random): { readonly mail: Mail; readonly edit: Edit; readonly script: string } => {
  const fields = Array.from({ length: random.between(0, 8) }, (_, number) => {
    const name = random.pick(names)
    return `${name}: ${valueOf(random, name, number)}\r\n`
  })
  // The MTAs complete a message that lacks these.
  const required = [
    "From: Alice <alice@example.org>\r\n",
    "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n",
    "Message-ID: <1@example.org>\r\n"
  ]
  for (const field of required) fields.splice(random.between(0, fields.length), 0, field)
  const edits = Array.from({ length: random.between(1, 6) }, (_, number) => editOf(random, 20 + number))
  return {
    mail: {
      from: random.pick(["alice@example.org", ""]),
      to: ["stays@test.example", ...addresses.filter(() => random.chance(0.3))],
      message: `${fields.join("")}\r\n${bodyOf(random)}`
    },
    edit: (edit) => Effect.forEach(edits, ([, make]) => make(edit)),
    script: edits.map(([name]) => name).join("\n")
  }
}
