/** Macros of a session: their lifetimes and limits. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type MacroLimits, MacroStore } from "../../src/internal/protocol/macroStore.ts"
import * as Macros from "../../src/Macros.ts"
import { type ByteString } from "../../src/Wire.ts"

const code = (letter: string): number => letter.charCodeAt(0)
const make = (limits?: MacroLimits) => {
  const store = new MacroStore(limits)
  return {
    store,
    define: (letter: string, macros: { readonly [name: string]: string } | string) =>
      store.define(code(letter), typeof macros === "string" ? macros as ByteString : Macros.list(macros)),
    command: (letter: string) => store.command(code(letter))
  }
}

describe("MacroStore", () => {
  it("finds values by name with or without braces", () => {
    const { define, store } = make()
    define("C", "j\0mx.example.org\0{daemon_name}\0MTA\0{v}\0Postfix\0auth_type\0LOGIN\0empty\0\0")
    assert.strictEqual(store.get("j"), "mx.example.org")
    assert.strictEqual(store.get("{j}"), "mx.example.org")
    assert.strictEqual(store.get("daemon_name"), "MTA")
    assert.strictEqual(store.get("{daemon_name}"), "MTA")
    assert.strictEqual(store.get("v"), "Postfix")
    assert.strictEqual(store.get("{auth_type}"), "LOGIN")
    assert.strictEqual(store.get("empty"), "")
    assert.isUndefined(store.get("daemon"))
    assert.isUndefined(store.get("mx.example.org"))
    assert.isUndefined(store.get("Daemon_Name"))
    assert.deepStrictEqual(store.entries()[1], ["daemon_name", "MTA"])
  })

  it("gives bytes and text", () => {
    const { define, store } = make()
    define("M", "{mail_addr}\0j\xc3\xb8rn@example.org\0{cert_subject}\0\xff\0")
    assert.strictEqual(store.get("mail_addr"), "jørn@example.org")
    assert.strictEqual(store.raw("mail_addr"), "j\xc3\xb8rn@example.org")
    assert.strictEqual(store.get("cert_subject"), "\ufffd")
  })

  it("takes the latest stage first and keeps what later stages do not know", () => {
    const { command, define, store } = make()
    define("C", { client_addr: "IPv6:::1", j: "mx" })
    command("C")
    define("M", { i: "A" })
    command("M")
    define("N", { client_addr: "::1" })
    command("N")
    assert.strictEqual(store.get("client_addr"), "::1")
    assert.strictEqual(store.get("j"), "mx")
    assert.deepStrictEqual(Object.fromEntries(store.entries()), { client_addr: "::1", j: "mx", i: "A" })
  })

  it("replaces a stage as a whole and drops the later ones", () => {
    const { command, define, store } = make()
    define("M", { i: "A" })
    command("M")
    define("R", { rcpt_addr: "a", rcpt_host: "h" })
    command("R")
    define("R", { rcpt_addr: "b" })
    command("R")
    assert.strictEqual(store.get("rcpt_addr"), "b")
    assert.isUndefined(store.get("rcpt_host"))
    define("T", { i: "B" })
    command("T")
    define("R", "")
    command("R")
    assert.isUndefined(store.get("rcpt_addr"))
    assert.strictEqual(store.get("i"), "A")
  })

  it("drops the later stages at a command that nothing was defined for", () => {
    const { command, define, store } = make()
    define("H", { cipher: "x" })
    command("H")
    define("M", { i: "A" })
    command("M")
    define("R", { rcpt_addr: "a" })
    command("R")
    command("H")
    assert.deepStrictEqual(store.entries(), [["cipher", "x"]])
    define("R", { rcpt_addr: "hidden from the filter" })
    command("M")
    assert.isUndefined(store.get("rcpt_addr"))
  })

  it("never shows a message the macros of the one before", () => {
    const { command, define, store } = make()
    define("C", { j: "mx" })
    command("C")
    define("M", { i: "A", auth_authen: "alice" })
    command("M")
    // RSET without an abort; the next sender has nothing defined.
    command("M")
    assert.isUndefined(store.get("i"))
    define("M", { i: "B" })
    command("M")
    define("E", { msg_id: "x" })
    command("E")
    store.endMessage()
    assert.deepStrictEqual(store.entries(), [["j", "mx"]])
  })

  it("keeps at the end of a message what the command that ends it has brought", () => {
    const { command, define, store } = make()
    define("M", { i: "A" })
    command("M")
    define("R", { rcpt_addr: "a" })
    command("R")
    define("M", { i: "B" })
    store.endMessage()
    command("M")
    assert.strictEqual(store.get("i"), "B")
    assert.isUndefined(store.get("rcpt_addr"))
    define("R", { rcpt_addr: "hidden" })
    command("A")
    store.endMessage()
    assert.deepStrictEqual(store.entries(), [])
  })

  it("counts headers with their end and body chunks with the end of message, which sees both", () => {
    const { command, define, store } = make()
    define("L", { i: "A", a: "1" })
    command("L")
    define("L", { i: "A", a: "2" })
    command("L")
    assert.strictEqual(store.get("a"), "2")
    define("N", { i: "A" })
    command("N")
    assert.isUndefined(store.get("a"))
    define("B", { i: "A", b: "1" })
    command("B")
    assert.strictEqual(store.get("b"), "1")
    define("E", { msg_id: "x" })
    command("E")
    assert.isUndefined(store.get("b"))
    assert.strictEqual(store.get("i"), "A")
    assert.strictEqual(store.get("msg_id"), "x")
  })

  it("shows the macros of an unknown command to that command only", () => {
    const { command, define, store } = make()
    define("M", { i: "A" })
    command("M")
    define("U", { i: "U", u: "1" })
    assert.isUndefined(store.get("u"))
    command("U")
    assert.strictEqual(store.get("i"), "U")
    assert.strictEqual(store.get("u"), "1")
    assert.deepStrictEqual(Object.fromEntries(store.entries()), { i: "U", u: "1" })
    command("U")
    assert.isUndefined(store.get("u"))
    assert.strictEqual(store.get("i"), "A")
    define("U", { u: "2" })
    command("U")
    command("R")
    assert.isUndefined(store.get("u"))
    assert.strictEqual(store.get("i"), "A")
  })

  it("reports broken lists and uses what is whole", () => {
    const { define, store } = make()
    assert.strictEqual(define("H", ""), "complete")
    assert.strictEqual(define("C", "j\0mx\0k\0"), "odd")
    assert.deepStrictEqual(store.entries(), [["j", "mx"]])
    assert.strictEqual(define("C", "j\0"), "odd")
    assert.deepStrictEqual(store.entries(), [])
    assert.strictEqual(define("C", "j\0mx\0junk"), "unterminated")
    assert.deepStrictEqual(store.entries(), [["j", "mx"]])
    assert.isUndefined(store.get("junk"))
    assert.strictEqual(define("C", "junk"), "unterminated")
    assert.strictEqual(define("A", { j: "mx" }), "complete")
    assert.strictEqual(store.define(0xe9, Macros.list({ j: "mx" })), "complete")
    assert.deepStrictEqual(store.entries(), [])
  })

  it("takes the first of two definitions in one list", () => {
    const { define, store } = make()
    define("C", "j\0one\0{j}\0two\0")
    assert.strictEqual(store.get("j"), "one")
    assert.deepStrictEqual(store.entries(), [["j", "one"]])
  })

  it("keeps no more than the limits over all stages", () => {
    const { command, define, store } = make({ macros: 3, bytes: 40 })
    assert.strictEqual(define("C", { a: "1", b: "2" }), "complete")
    command("C")
    assert.strictEqual(define("M", { c: "3", d: "4" }), "truncated")
    assert.strictEqual(store.get("c"), "3")
    assert.isUndefined(store.get("d"))
    // What is replaced makes room.
    assert.strictEqual(define("M", { e: "x".repeat(29) }), "complete")
    assert.strictEqual(define("M", { e: "x".repeat(30) }), "truncated")
    assert.isUndefined(store.get("e"))
    assert.strictEqual(define("C", { a: "1", b: "2", c: "3" }), "complete")
  })

  const Letter = Schema.Literals(["C", "H", "M", "R", "T", "L", "N", "B", "E", "U"])
  const order = "CHMRTLNBE"
  it.prop(
    "shows at a command exactly the latest definitions of its stage and the earlier ones",
    [Schema.Array(Schema.Struct({ letter: Letter, defined: Schema.Boolean }))],
    ([steps]) => {
      const { command, define, store } = make()
      // A model: one value per stage, dropped when an earlier one comes.
      const stageOf = (letter: string) => (letter === "L" ? "N" : letter === "B" ? "E" : letter)
      let model = new Map<string, string>()
      for (const [index, { defined, letter }] of steps.entries()) {
        const stage = stageOf(letter)
        if (defined) define(letter, { [`at_${stage}`]: String(index) })
        command(letter)
        if (letter === "U") {
          assert.strictEqual(store.get("at_U"), defined ? String(index) : undefined)
          continue
        }
        model = new Map(
          Array.from(model).filter(([other]) =>
            order.indexOf(other) < order.indexOf(stage) || (other === stage && !(letter === "M" && !defined))
          )
        )
        if (defined) model.set(stage, String(index))
        assert.deepStrictEqual(
          Object.fromEntries(store.entries()),
          Object.fromEntries(Array.from(model, ([stage, value]) => [`at_${stage}`, value]))
        )
      }
    }
  )

  it.prop(
    "gives for each entry what get gives",
    [Schema.Array(Schema.Literals(["a", "{a}", "ab", "{ab}", "{", "}", "", "\0", "\0\0"]))],
    ([parts]) => {
      const { define, store } = make()
      define("C", parts.join(""))
      for (const [name, value] of store.entries()) assert.strictEqual(store.get(name), value)
    }
  )
})
