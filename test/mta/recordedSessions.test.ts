/** The sessions of testbed/mtaScenarios.ts with the imitated MTAs: filters are told what the real ones told them. */
import { assert, describe } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import type * as Packet from "../../src/Packet.ts"
import * as RawMessage from "../../src/RawMessage.ts"
import * as Recording from "../../src/Recording.ts"
import { type Scenario, scenarios, type Script } from "../../testbed/mtaScenarios.ts"
import * as recordings from "../support/recordings.ts"
import { network, orContinue, type Script as Filter } from "../support/scriptedFilter.ts"
import * as yielding from "../support/yielding.ts"

/** Commands by name, macros with theirs; unknown commands with their text. Values differ from session to session. */
const told = (packets: ReadonlyArray<Packet.MtaPacket>): ReadonlyArray<string> =>
  packets.map((packet) =>
    packet._tag === "Macro"
      // Sendmail knows none on loopback, where the recordings were made.
      ? `${packet.stage} ${packet.macros.map(({ name }) => name).filter((name) => name !== "{if_addr}").join(" ")}`
      : packet._tag === "Unknown"
      ? `Unknown ${packet.line}`
      : packet._tag
  )

const recorded = (name: string): ReadonlyArray<string> => {
  const [connection] = recordings.connections(name)
  return told(
    connection!.lines.flatMap((line) =>
      line._tag === "Frame" && line.from === "mta"
        ? [Result.getOrThrow(Recording.packet(line)) as Packet.MtaPacket] // what the MTA sent
        : []
    )
  )
}

const filterOf = ({ answers = [], wanted }: Script): Filter => {
  const left = [...answers]
  return orContinue((packet) => {
    const at = left.findIndex(([command]) => command === packet._tag)
    return at === -1 ? undefined : left.splice(at, 1)[0]![1]
  }, { actions: 0x1ff, ...wanted })
}

/** What an SMTP server does with the lines. */
const serve = Effect.fnUntraced(function*(chain: MilterClient.Chain, { lines }: Scenario) {
  yield* chain.connect({ hostname: "localhost", address: "127.0.0.1" })
  for (const line of lines) {
    const [verb = ""] = line.split(" ", 1)
    const address = /<(.*)>/.exec(line)?.[1] ?? ""
    if (line.includes("\n")) yield* chain.message(RawMessage.parse(new TextEncoder().encode(line)))
    else if (verb === "EHLO") yield* chain.helo(line.slice(5))
    else if (verb === "MAIL") yield* chain.mail(address)
    else if (verb === "RCPT") {
      const refused = { enhanced: "5.1.1", text: "User unknown" }
      yield* chain.rcpt(address, [], address.startsWith("unknown") ? { refused } : {})
    } else if (verb === "DATA") yield* chain.data()
    else if (verb === "RSET") yield* chain.reset()
    else if (verb === "QUIT") yield* chain.quit()
    else yield* chain.unknown(line)
  }
})

describe("what filters are told", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    yielding.effect(`${name}: ${scenario.description}`, () =>
      Effect.gen(function*() {
        const { dialer, filters } = yield* network(
          Object.fromEntries(scenario.filters.map((script, index) => [`filter ${index}`, filterOf(script)]))
        )
        const chain = yield* MilterClient.chain(scenario.filters.map((_, index) => `filter ${index}`), {
          as: scenario.mta === "postfix" ? MilterTest.postfix : MilterTest.sendmail
        }).pipe(Effect.provide(dialer))
        yield* serve(chain, scenario)
        yield* yielding.quiet
        for (const index of scenario.filters.keys()) {
          const file = index === scenario.filters.length - 1 ? name : `${name}.first`
          assert.deepStrictEqual(told(filters[`filter ${index}`]!.packets), recorded(file), file)
        }
      }))
  }
})
