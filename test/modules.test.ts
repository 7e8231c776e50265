/** What importing an entry loads: every module costs time at each start. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import { root } from "../scripts/repository.ts"
import * as Packet from "../src/Packet.ts"

/** Prints the modules that importing an entry loads, one a line. */
const program = `
import { registerHooks } from "node:module"
const urls = []
registerHooks({
  load: (url, context, next) => {
    urls.push(url)
    return next(url, context)
  }
})
await import(process.argv[1])
console.log(urls.join("\\n"))
`

/** Prints how many packets have a schema once a server's modules are loaded, and once the union of the commands is used. */
const schemasProgram = `
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import * as Schema from "effect/Schema"
const made = () => [...Packet.mtaDefinitions, ...Packet.filterDefinitions].filter((packet) => packet.made !== undefined).length
console.log(made())
if (!Schema.is(Packet.MtaPacket)({ _tag: "Abort" })) throw new Error(typeof NodeMilterServer)
console.log(made())
`

/** The lines that a program prints in a process of its own. */
const run = (...program: ReadonlyArray<string>) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const child = ChildProcess.execFile(
      process.execPath,
      ["-C", "effect-milter-source", "--input-type=module", "--eval", ...program],
      { cwd: root, encoding: "utf8" },
      (error, stdout) => resume(error === null ? Effect.succeed(stdout.trim().split("\n")) : Effect.die(error))
    )
    return Effect.sync(() => void child.kill())
  })

const modulesOf = (entry: string) => run(program, entry)

const isSchema = (url: string): boolean => url.endsWith("/effect/dist/Schema.js")

/** What a filter imports, with the most modules that an entry may load. Effect's own `Effect` is 65. */
const light: ReadonlyArray<readonly [name: string, most: number]> = [
  ["Stage", 1],
  ["InvalidValue", 30],
  ["Verdict", 30],
  ["Reply", 30],
  ["Header", 40],
  ["Envelope", 40],
  ["ClientAddress", 40],
  ["Macros", 40],
  ["Negotiation", 40],
  ["Modification", 50],
  ["Milter", 120]
]

describe("an import loads only what it needs", () => {
  it.live.each(light)(
    "effect-milter/%s has no Schema, and at most %i modules",
    ([name, most]) =>
      Effect.gen(function*() {
        const modules = yield* modulesOf(`effect-milter/${name}`)
        assert.isTrue(modules.some((url) => url.endsWith(`/src/${name}.ts`)), modules.join("\n"))
        assert.isFalse(modules.some(isSchema))
        assert.isAtMost(modules.length, most, modules.join("\n"))
      })
  )

  it.live.each(["MilterServer", "node"])(
    "a server of a plain filter has no MTA's side (effect-milter/%s)",
    (name) =>
      Effect.gen(function*() {
        const modules = yield* modulesOf(`effect-milter/${name}`)
        assert.isTrue(modules.some(isSchema), "Config needs it")
        const mta = modules.filter((url) => url.includes("/src/internal/mta/") || url.endsWith("/src/MilterClient.ts"))
        assert.deepStrictEqual(mta, [])
      })
  )

  it.live("a server makes no schema of a packet", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* run(schemasProgram), ["0", String(Packet.mtaDefinitions.length)])
    }))

  it.live("a server without pages has no HTTP", () =>
    Effect.gen(function*() {
      const modules = yield* modulesOf("effect-milter/node")
      assert.isTrue(modules.some((url) => url.endsWith("/src/node/NodeMilterServer.ts")))
      // Proves that built-in modules are seen.
      assert.include(modules, "node:net")
      assert.notInclude(modules, "node:http")
    }))
})
