/** The sessions of testbed/mtaScenarios.ts with the imitated MTAs: filters are told what the real ones told them, and clients. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Fs from "node:fs"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import { Step } from "../../src/Negotiation.ts"
import type * as Packet from "../../src/Packet.ts"
import * as RawMessage from "../../src/RawMessage.ts"
import * as Recording from "../../src/Recording.ts"
import type { Reply } from "../../src/Reply.ts"
import { isOf, largerPackets, type Scenario, scenarios, type Script } from "../../testbed/mtaScenarios.ts"
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
      : packet._tag === "Header"
      ? `${packet.name}:${packet.value}`
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

/** What the SMTP client reads, if it is a refusal. */
const worded = (reply: Reply | undefined): string | undefined =>
  reply && reply.lines.map((line) => [reply.code, reply.enhanced, line].filter((part) => part !== undefined).join(" "))
    .join("\n")

const refusal = (decision: MilterClient.Decision): string | undefined =>
  decision._tag === "Refused" ? worded(decision.reply) : undefined

/** What an SMTP server does with the lines, and the refusals that it gives. */
const serve = Effect.fnUntraced(function*(chain: MilterClient.Chain, { lines }: Scenario) {
  yield* chain.connect({ hostname: "localhost", address: "127.0.0.1" })
  const refusals: Array<string | undefined> = []
  for (const line of lines) {
    const [verb = ""] = line.split(" ", 1)
    const address = /<(.*)>/.exec(line)?.[1] ?? ""
    let refused: string | undefined
    if (line.includes("\n")) {
      refused = worded((yield* chain.message(RawMessage.parse(new TextEncoder().encode(line)))).reply)
    } else if (verb === "EHLO") refused = refusal(yield* chain.helo(line.slice(5)))
    else if (verb === "MAIL") refused = refusal(yield* chain.mail(address))
    else if (verb === "RCPT") {
      const own = { enhanced: "5.1.1", text: "User unknown" }
      refused = refusal(yield* chain.rcpt(address, [], address.startsWith("unknown") ? { refused: own } : {}))
    } else if (verb === "DATA") refused = refusal(yield* chain.data())
    else if (verb === "RSET") yield* chain.reset()
    else if (verb === "QUIT") yield* chain.quit()
    else refused = refusal(yield* chain.unknown(line))
    refusals.push(refused)
  }
  return refusals
})

/** What the client of the real MTA read; the refusals of commands that no MTA knows are its own. */
const recordedRefusals = (name: string): ReadonlyArray<string | undefined> => {
  const file = new URL(`../fixtures/dialogues/${name}.json`, import.meta.url)
  const answers: ReadonlyArray<string> = JSON.parse(Fs.readFileSync(file, "utf8"))
  return answers.map((answer) => /^(?:[23]|500 5\.5\.[12] )/.test(answer) ? undefined : answer)
}

interface Release {
  /** Where its recordings are. */
  readonly folder: string
  readonly mta: Scenario["mta"]
  readonly as: MilterClient.Mta
}

const releases: ReadonlyArray<Release> = [
  { folder: "", mta: "postfix", as: MilterTest.postfix },
  { folder: "", mta: "sendmail", as: MilterTest.sendmail },
  { folder: "postfix-3.10/", mta: "postfix", as: MilterTest.postfix38 },
  { folder: "postfix-3.11/", mta: "postfix", as: MilterTest.postfix311 },
  { folder: "sendmail-8.18/", mta: "sendmail", as: MilterTest.sendmail818 },
  { folder: `${largerPackets}/`, mta: "sendmail", as: MilterTest.sendmail818 }
]

/** What the scenario's Sendmail offers in addition, by the answer of the filter. */
const offering = (as: MilterClient.Mta, { filters }: Scenario): MilterClient.Mta => {
  const steps = (filters[0]?.wanted?.steps ?? 0) & (Step.payload256K | Step.payload1M)
  return steps === 0 ? as : { ...as, offer: { ...as.offer, steps: as.offer.steps | steps } }
}

const played = releases.flatMap(({ as, folder, mta }) =>
  Object.entries(scenarios).filter(([, scenario]) => scenario.mta === mta && isOf(scenario, folder.replace("/", "")))
    .map(([name, scenario]) => ({
      as: offering(as, scenario),
      name: `${folder}${name}`,
      scenario
    }))
)

describe("what filters are told", () => {
  it("by the releases that were recorded", () => {
    const folders = releases.map(({ folder }) => folder).filter((folder) => folder !== "")
    assert.deepStrictEqual(recordings.releases.map((release) => `${release}/`), folders)
    for (const release of recordings.releases) {
      const files = played.filter(({ name }) => name.startsWith(`${release}/`)).flatMap(({ name, scenario }) =>
        scenario.filters.length === 1 ? [name] : [`${name}.first`, name]
      )
      assert.deepStrictEqual(recordings.namesOf(release).toSorted(), files.toSorted())
    }
  })

  for (const { as, name, scenario } of played) {
    yielding.effect(`${name}: ${scenario.description}`, () =>
      Effect.gen(function*() {
        const { dialer, filters } = yield* network(
          Object.fromEntries(scenario.filters.map((script, index) => [`filter ${index}`, filterOf(script)]))
        )
        const chain = yield* MilterClient.chain(scenario.filters.map((_, index) => `filter ${index}`), {
          as
        }).pipe(Effect.provide(dialer))
        const refusals = yield* serve(chain, scenario)
        yield* yielding.quiet
        for (const index of scenario.filters.keys()) {
          const file = index === scenario.filters.length - 1 ? name : `${name}.first`
          assert.deepStrictEqual(told(filters[`filter ${index}`]!.packets), recorded(file), file)
        }
        if (scenario.keepsAnswers === true) assert.deepStrictEqual(refusals, recordedRefusals(name))
      }))
  }
})
