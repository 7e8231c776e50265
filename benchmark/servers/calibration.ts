/**
 * Work of the same kind as the engine's, without its rules: cuts the frames of a message, makes strings and objects of them,
 * keeps the macros, and runs an effect for each command. How long it takes says how fast the machine is for the engine.
 * A change here changes the limits of `bench:engine --guard`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { message } from "../packets.ts"

interface Event {
  readonly code: number
  readonly texts: ReadonlyArray<string>
  readonly at: { readonly state: Ref.Ref<number>; readonly macros: ReadonlyMap<number, ReadonlyArray<string>> }
}

const hook = ({ at, texts }: Event): Effect.Effect<boolean> =>
  Effect.as(Ref.update(at.state, (length) => length + texts.length), texts.length > 1000)

const answer = new Uint8Array(5)
const macroCode = 0x44
const bodyCode = 0x42

/** Plays messages; gives the number of commands that were answered. */
export const calibrate = (count: number): number => {
  let answers = 0
  for (let index = 0; index < count; index++) {
    const scope = Scope.makeUnsafe()
    const fork = Effect.runForkWith(Context.make(Scope.Scope, scope))
    const macros = new Map<number, ReadonlyArray<string>>()
    const at = { state: Ref.makeUnsafe(0), macros }
    for (const chunk of message) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      for (let start = 0; start < bytes.length;) {
        const length = bytes.readUInt32BE(start)
        const code = bytes[start + 4]!
        const end = start + 4 + length
        const texts = code === bodyCode ? [] : bytes.toString("latin1", start + 5, end).split("\0")
        if (code === macroCode) macros.set(code, texts)
        else if (fork(hook({ code, texts, at })).pollUnsafe()?._tag === "Success") answers += answer.length / 5
        start = end
      }
    }
  }
  return answers
}
