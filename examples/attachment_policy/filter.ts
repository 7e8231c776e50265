/** Takes files of some kinds out of messages, or refuses messages that have them. */
import * as Message from "effect-milter/Message"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export interface Options {
  /** In lower case, without the dot. */
  readonly extensions: ReadonlySet<string>
  /** `remove` puts a note in the place of each file. */
  readonly action: "remove" | "reject"
  /** What happens where that cannot be done: in signed mail, and in messages that are not understood to their end. */
  readonly otherwise: "reject" | "pass"
}

const extensionOf = (name: string): string => {
  let end = name.length
  // Windows does not see dots and spaces at the end of a name.
  while (end > 0 && ". ".includes(name[end - 1]!)) end--
  return name.slice(name.lastIndexOf(".", end - 1) + 1, end).toLowerCase()
}

const shown = (name: string): string => name.replace(/[^\P{C}]/gu, "?").slice(0, 100)

/** Senders write several names, and mail programs differ in which they show: all of them count. */
export const forbiddenName = (
  { filenames }: Pick<Message.MimePart, "filenames">,
  extensions: ReadonlySet<string>
): string | undefined => filenames.find((name) => extensions.has(extensionOf(name)))

const refused = (name: string) =>
  Verdict.reject({ enhanced: "5.7.1", text: `Files like ${shown(name).replace(/[^ -~]/g, "?")} are not accepted` })

const unclear = Verdict.reject({ enhanced: "5.6.0", text: "The parts of this message cannot be told apart" })

/** Messages in the message are searched too, 20 deep. What is packed (zip) or encrypted is not. */
export const attachmentPolicy = ({ action, extensions, otherwise }: Options) =>
  Message.make("attachment_policy", { modify: ["mime"] }).on({
    document: Effect.fnUntraced(function*({ mime }) {
      const { complete, leaves } = yield* mime.tree
      for (const part of leaves) {
        const name = forbiddenName(part, extensions)
        if (name === undefined) continue
        if (action === "reject") return refused(name)
        const removed = yield* Effect.result(part.replace({ text: `The file ${shown(name)} was removed.` }))
        if (removed._tag === "Success") continue
        yield* Effect.logInfo("a file stays", { message: removed.failure.message })
        if (otherwise === "reject") return refused(name)
      }
      return complete || otherwise === "pass" ? Verdict.continue : unclear
    })
  })
