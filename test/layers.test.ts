/**
 * The map of the sources: which wing stands on which floor. Imports, of types too, go down or stay inside a wing, and nowhere
 * in a circle.
 */
import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { glob, read } from "../scripts/repository.ts"

interface Wing {
  /** What it holds. */
  readonly about: string
  /** Its folder in `src`. */
  readonly folder?: string
  /** The public modules, directly in `src`, that belong to it. */
  readonly modules?: ReadonlyArray<string>
}

const floors: ReadonlyArray<ReadonlyArray<Wing>> = [
  [{ about: "bytes, and the error for bad values", folder: "internal/bytes", modules: ["InvalidValue"] }],
  [
    { about: "frames and packets", folder: "internal/wire", modules: ["Frame", "Wire", "Packet"] },
    { about: "byte streams: sockets, memory, addresses to listen on", folder: "internal/net" }
  ],
  [{
    about: "the text of mail: addresses, parameters, headers, replies",
    folder: "internal/mail",
    modules: ["ClientAddress", "Envelope", "Header", "Reply", "RawMessage"]
  }],
  [{
    about: "stages, their order, macros, verdicts, modifications, the negotiation",
    folder: "internal/protocol",
    modules: ["Macros", "Negotiation", "Stage", "Verdict", "Modification"]
  }],
  [
    { about: "what becomes of a message under modifications", folder: "internal/delivery", modules: ["Delivery"] },
    { about: "log, metrics and spans", folder: "internal/observe" }
  ],
  [{
    about: "the MTA's side: one filter, several, the manners of each MTA",
    folder: "internal/mta",
    modules: ["MilterClient"]
  }],
  [{
    about: "filters as values, filters made of filters, and other milters as filters",
    folder: "internal/filter",
    modules: ["Milter"]
  }],
  [
    { about: "one connection of an MTA: commands to hooks, verdicts to packets", folder: "internal/engine" },
    { about: "a whole message as a document", folder: "internal/message", modules: ["Message"] }
  ],
  [{ about: "servers: options, connections, drain", folder: "internal/server", modules: ["MilterServer"] }],
  [
    { about: "tests in memory, recorded sessions", folder: "internal/testing", modules: ["MilterTest", "Recording"] },
    { about: "the sockets of Effect", modules: ["EffectSocket"] },
    { about: "SPF, DKIM, DMARC, ARC: the entry effect-milter/auth", folder: "auth" },
    { about: "sockets, files and signals of Node: the entry effect-milter/node", folder: "node" }
  ],
  [{ about: "the entry effect-milter", modules: ["index"] }],
  [{ about: "the program effect-milter", folder: "cli" }]
]

/** Who may import `node:*`. */
const onNode: ReadonlyArray<string> = ["auth", "node", "cli"]

interface Place {
  readonly floor: number
  readonly wing: Wing
}

const places = floors.flatMap((wings, floor) => wings.map((wing): Place => ({ floor, wing })))

const placeOf = (file: string): Place | undefined =>
  places.find(({ wing: { folder, modules = [] } }) =>
    (folder !== undefined && file.startsWith(`${folder}/`)) || modules.includes(file.replace(/\.ts$/, ""))
  )

/** Paths in `src`. */
const files = glob("src/**/*.ts").map((file) => file.slice("src/".length))

/** What a file imports, types included: `import … from`, `export … from`, `import "…"`, `import("…")`. */
const specifiersOf = (text: string): ReadonlyArray<string> =>
  [
    ...text.matchAll(/^(?:import|export)(?: type)? (?:\{[^}]*\}|\*(?: as \w+)?|\w+) from "([^"]+)"/gm),
    ...text.matchAll(/^import "([^"]+)"/gm),
    ...text.matchAll(/\bimport\("([^"]+)"\)/g)
  ].map(([, specifier]) => specifier!)

const imports = new Map(files.map((file) => [file, specifiersOf(read(`src/${file}`))]))

const targetsOf = (file: string): ReadonlyArray<string> =>
  imports.get(file)!
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => path.posix.join(path.posix.dirname(file), specifier))

/** Groups of files that import each other, around however many corners (Tarjan's algorithm). */
const circles = (): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<ReadonlyArray<string>> = []
  const index = new Map<string, number>()
  const lowest = new Map<string, number>()
  const stack: Array<string> = []
  const visit = (file: string): void => {
    index.set(file, index.size)
    lowest.set(file, index.get(file)!)
    stack.push(file)
    for (const target of targetsOf(file)) {
      if (!index.has(target)) {
        visit(target)
        lowest.set(file, Math.min(lowest.get(file)!, lowest.get(target)!))
      } else if (stack.includes(target)) lowest.set(file, Math.min(lowest.get(file)!, index.get(target)!))
    }
    if (lowest.get(file) !== index.get(file)) return
    const group = stack.splice(stack.indexOf(file))
    if (group.length > 1 || targetsOf(file).includes(file)) found.push(group.toSorted())
  }
  for (const file of files) if (!index.has(file)) visit(file)
  return found
}

describe("floors", () => {
  it("each file stands in one wing, and each wing and module is there", () => {
    assert.deepStrictEqual(files.filter((file) => placeOf(file) === undefined), [])
    for (const { wing: { folder, modules = [] } } of places) {
      if (folder !== undefined) assert.isTrue(files.some((file) => file.startsWith(`${folder}/`)), folder)
      for (const module of modules) assert.include(files, `${module}.ts`)
    }
  })

  it("imports lead to files", () => {
    const imported = files.flatMap(targetsOf)
    // Otherwise the tests below would see nothing.
    assert.isAbove(imported.length, 500)
    assert.deepStrictEqual(imported.filter((target) => !files.includes(target)), [])
  })

  it("imports go down or stay in their wing", () => {
    const wrong = files.flatMap((file) => {
      const from = placeOf(file)!
      return targetsOf(file).flatMap((target) => {
        const to = placeOf(target)!
        return to.floor < from.floor || to.wing === from.wing ? [] : [`${file} -> ${target}`]
      })
    })
    assert.deepStrictEqual(wrong, [])
  })

  it("there is no circle", () => {
    assert.deepStrictEqual(circles(), [])
  })

  it("only auth, node and cli import node:*", () => {
    const wrong = files.filter((file) =>
      !onNode.includes(file.split("/")[0]!) && imports.get(file)!.some((specifier) => specifier.startsWith("node:"))
    )
    assert.deepStrictEqual(wrong, [])
  })
})

describe.each(["internal", "cli"])("names of files in %s", (folder) => {
  const within = files.filter((file) => file.startsWith(`${folder}/`))

  it("are given once", () => {
    const names = within.map((file) => path.posix.basename(file))
    assert.deepStrictEqual(names.filter((name, index) => names.indexOf(name) !== index), [])
  })

  it("are not those of their folders", () => {
    const wrong = within.filter((file) => {
      const { dir, name } = path.posix.parse(file)
      return dir.split("/").includes(name)
    })
    assert.deepStrictEqual(wrong, [])
  })

  it("a folder holds more than one", () => {
    const folders = within.map((file) => path.posix.dirname(file))
    assert.deepStrictEqual(folders.filter((name, _, all) => all.filter((other) => other === name).length === 1), [])
  })
})

describe("the program", () => {
  const inProgram = files.filter((file) => file.startsWith("cli/"))

  it("has a file for each command", () => {
    const commands = inProgram.filter((file) => file.endsWith("Command.ts"))
    const imported = targetsOf("cli/program.ts").filter((file) => file.endsWith("Command.ts"))
    assert.isAbove(commands.length, 5)
    assert.deepStrictEqual(imported.toSorted(), commands.toSorted())
  })

  it("lies in folders, and in files that a reader can hold", () => {
    // Its start, and what loads a filter.
    assert.isAtMost(inProgram.filter((file) => path.posix.dirname(file) === "cli").length, 7)
    assert.deepStrictEqual(inProgram.filter((file) => read(`src/${file}`).split("\n").length > 400), [])
  })
})

describe("the engine returns", () => {
  it("no file but connection takes a callback", () => {
    const taking = files.filter((file) =>
      file.startsWith("internal/engine/") && file !== "internal/engine/connection.ts" &&
      /[(,]\s*(?:(?:next|done|end|resume|none)\??: (?:\(|Done)|\w+\??: \([^()]*\) => void)/.test(read(`src/${file}`))
    )
    assert.deepStrictEqual(taking, [])
  })
})
