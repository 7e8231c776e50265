/** The table of stages, and that nothing in it stands elsewhere. */
import { assert, describe, it } from "@effect/vitest"
import { glob, read } from "../../scripts/repository.ts"
import {
  allStages,
  answeredStages,
  isBeginning,
  isContent,
  letterOf,
  macroStages,
  messageStages,
  sessionStages,
  stageOf,
  stageTable
} from "../../src/internal/protocol/stageTable.ts"
import * as Negotiation from "../../src/Negotiation.ts"
import * as Packet from "../../src/Packet.ts"

describe("rows", () => {
  it("are numbered without gaps", () => {
    assert.deepStrictEqual(allStages.map((stage) => stageTable[stage].number), allStages.map((_, index) => index))
  })

  it("have the letters and versions of the protocol", () => {
    assert.strictEqual(answeredStages.map(letterOf).join(""), "CHMRTLNBEU")
    assert.strictEqual(answeredStages.map((stage) => stageTable[stage].command.since).join(""), "1111412113")
  })

  it("have each NO* and NR* bit", () => {
    const bits = Object.entries(Negotiation.Step).filter(([name]) => name.startsWith("no")).map(([, bit]) => bit)
    const used = answeredStages.flatMap((stage) => [stageTable[stage].no, stageTable[stage].noReply])
    assert.deepStrictEqual(used.filter((bit) => bit !== 0).toSorted((a, b) => a - b), bits.toSorted((a, b) => a - b))
  })

  it("say which packets are answered", () => {
    const answered = Packet.mtaDefinitions.filter(({ answered, name }) => answered && name !== "Negotiate")
    assert.deepStrictEqual(answered.map(({ name }) => stageOf(name)), [...answeredStages])
    for (const { answered, name } of Packet.mtaDefinitions) {
      assert.strictEqual(stageOf(name) !== undefined, answered && name !== "Negotiate", name)
    }
  })

  it("fall into session, envelope and content", () => {
    assert.deepStrictEqual(sessionStages, ["connect", "helo", "unknown"])
    assert.deepStrictEqual(messageStages.filter((stage) => !isContent(stage)), ["mail", "rcpt", "data"])
    assert.deepStrictEqual(answeredStages.filter(isContent), ["header", "endOfHeaders", "body", "endOfMessage"])
  })

  it("say where something begins that conditions can ask about", () => {
    assert.deepStrictEqual(allStages.filter(isBeginning), ["connect", "helo", "mail"])
  })

  it("count macro lists as the protocol does", () => {
    assert.deepStrictEqual(macroStages.map((stage) => stageTable[stage].macroList), [0, 1, 2, 3, 4, 6, 5])
  })
})

// What knows nothing of stages has letters of its own: DNS's, encoded words'.
const elsewhere = /^src\/(?:auth|internal\/(?:bytes|mail|net))\//
const sources = glob("src/**/*.ts").filter((file) => !elsewhere.test(file))

const declarations = ["commandLetters", "mtaPackets", "filterPackets"].map((name) => `src/internal/wire/${name}.ts`)
const table = "src/internal/protocol/stageTable.ts"

/** Without comments, whose examples say what they like. */
const codeOf = (file: string): string => read(file).replace(/\/\*[^]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "")

const found = (pattern: RegExp, except: ReadonlyArray<string>): ReadonlyArray<string> =>
  sources.filter((file) => !except.includes(file)).flatMap((file) =>
    [...codeOf(file).matchAll(pattern)].map(([text]) => `${file}: ${text.replace(/\s+/g, " ")}`)
  )

const letters = Packet.mtaDefinitions.map(({ code }) => String.fromCharCode(code)).join("")
const name = `(?:${allStages.join("|")})`
const value = `(?:"|\\d|\\[|\\{|\\w+(?:\\.\\w+)*,?\\n)`
const property = `(?<![\\w.] ?)${name}: (?=${value})[^\\n]*\\n`
const further = `(?:[^\\n]*\\n){0,8}?\\s*${property}`
const bits = answeredStages.flatMap((stage) => [stageTable[stage].no, stageTable[stage].noReply])

/** What would say something of the table again. */
const patterns = {
  letter: new RegExp(`"[${letters}]"`, "g"),
  number: new RegExp(`\\b0x(?:${Packet.mtaDefinitions.map(({ code }) => code.toString(16)).join("|")})\\b`, "g"),
  compared: /\bcode (?:===|!==) (?:[6-9]\d\b|1[0-2]\d\b|0x|"[^"]")/g,
  step: /\bStep\.no\w+/g,
  // Those of one or two digits would be any number.
  bit: new RegExp(`\\b0x0*(?:${bits.filter((bit) => bit > 0xff).map((bit) => bit.toString(16)).join("|")})\\b`, "g"),
  // Arrays, unions of types, and conditions that go through three stages or more.
  list: new RegExp(`"${name}"(?:(?:,|\\s*\\||\\s*\\|\\|\\s*[\\w.]+ ===)\\s*"${name}"){2,}`, "g"),
  array: new RegExp(`\\["${name}"(?:, "${name}")+\\]`, "g"),
  record: new RegExp(`${property}${further}${further}`, "g")
}

describe("nothing about a stage stands twice:", () => {
  it("the patterns find what they are for", () => {
    const examples: { readonly [K in keyof typeof patterns]: string } = {
      letter: `letter = "E"`,
      number: "const abortCode = 0x41",
      compared: `frame.code === 69 `,
      step: "steps & Step.noReplyHelo",
      bit: "steps & 0x002000",
      list: `stage === "header" || stage === "body" || stage === "endOfMessage"`,
      array: `for (const stage of ["helo", "unknown"])`,
      record: "{\n  data: 1,\n  header: Step.a,\n  body: [\n    2\n  ],\n  unknown: other.thing\n}"
    }
    for (const [name, pattern] of Object.entries(patterns)) {
      assert.strictEqual(examples[name as keyof typeof patterns].match(pattern)?.length, 1, name)
    }
  })

  it("letters of commands", () => {
    // N stands for a number in the help of `serve`.
    const others = [...declarations, "src/cli/serve/serveOptions.ts", "src/cli/serve/serveSettings.ts"]
    // The sides of a recording: MTA and filter.
    assert.deepStrictEqual(found(patterns.letter, others), ["src/internal/testing/recordingLines.ts: \"M\""])
  })

  it("letters as numbers", () => {
    // Families of addresses have letters too.
    assert.deepStrictEqual(found(patterns.number, ["src/internal/wire/packetFields.ts"]), [])
    assert.deepStrictEqual(found(patterns.compared, []), [])
  })

  it("bits that leave out a stage or its answer", () => {
    assert.deepStrictEqual(found(patterns.step, [table]), [])
    assert.deepStrictEqual(found(patterns.bit, ["src/internal/protocol/negotiationBits.ts"]), [])
  })

  it("lists of stages", () => {
    // The public types stay written out; a type test holds them equal to the table.
    const types = ["src/Macros.ts", "src/Stage.ts"]
    assert.deepStrictEqual(found(patterns.list, [table, ...types]), [])
    assert.deepStrictEqual(found(patterns.array, [table]), [])
  })

  it("records by stage", () => {
    // What follows from each verdict at each stage is a table of its own; the names of a document's hooks are checked by type.
    const others = ["src/internal/engine/decision.ts", "src/internal/message/documentFilter.ts"]
    assert.deepStrictEqual(found(patterns.record, [table, ...others]), [])
  })
})
