/**
 * Checks what TypeScript tells the author of a filter: the messages for mistakes that people make, with three versions of
 * the compiler, and the texts that an editor shows for a name under the mouse.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import ts from "typescript-6"
import { root } from "./repository.ts"

/** A mistake: where the first or the last line of its message must have this text. */
interface Mistake {
  readonly code: string
  /** Types come in another order from each compiler: all of these parts are in one of the two lines. */
  readonly says: ReadonlyArray<string>
}

const imports = `import * as Effect from "effect/Effect"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
export { Effect, Message, Milter, MilterServer, MilterTest, Verdict }
declare const failing: Milter.Made<Error, never>
const message = { from: "a@example.org", to: "b@example.org" }
export { failing, message }
`

const ofMessage = ["Continue", "Reject", "TempFail", "AcceptMessage", "DiscardMessage"]
const ofConnection = ["Continue", "Reject", "TempFail", "AcceptConnection"]
const unhandled = ["handle its failures with Milter.onFailure"]

const mistakes: ReadonlyArray<Mistake> = [
  // A verdict that is illegal at its stage.
  {
    code: `Milter.make("x").on({ connect: () => Effect.succeed(Verdict.discardMessage) })`,
    says: ["AtStage<\"connect\"", ...ofConnection]
  },
  {
    code: `Milter.make("x").on({ helo: () => Effect.succeed(Verdict.acceptMessage) })`,
    says: ["AtStage<\"helo\"", ...ofConnection]
  },
  {
    code: `Milter.make("x").on({ mail: () => Effect.succeed(Verdict.skipBody) })`,
    says: ["AtStage<\"mail\"", ...ofMessage]
  },
  {
    code: `Milter.make("x").on({
  rcpt: Effect.fnUntraced(function*({ recipient }) {
    return recipient.isNull ? Verdict.acceptConnection : Verdict.continue
  })
})`,
    says: ["AtStage<\"rcpt\"", ...ofMessage]
  },
  { code: `Milter.make("x").on({ data: () => Effect.void })`, says: ["AtStage<\"data\"", ...ofMessage] },
  {
    code: `Milter.make("x").on({ header: () => Effect.succeed(true) })`,
    says: ["AtStage<\"header\"", ...ofMessage]
  },
  {
    code: `Milter.make("x").on({ endOfHeaders: () => Effect.succeed(Verdict.skipBody) })`,
    says: ["AtStage<\"endOfHeaders\"", ...ofMessage]
  },
  {
    code: `Milter.make("x").on({ body: () => Effect.succeed(Verdict.acceptConnection) })`,
    says: ["AtStage<\"body\"", ...ofMessage, "SkipBody"]
  },
  {
    code:
      `Milter.make("x", { modify: ["addHeader"] }).on({ endOfMessage: (_, { edit }) => edit.addHeader("X-A", "b") })`,
    says: ["AtStage<\"endOfMessage\"", ...ofMessage]
  },
  {
    code: `Milter.make("x").on({ unknown: () => Effect.succeed(Verdict.acceptMessage) })`,
    says: ["AtStage<\"unknown\"", "Continue", "Reject", "TempFail"]
  },
  {
    code: `Message.make("x").on({
  rcpt: () => Effect.succeed(Verdict.acceptConnection),
  document: () => Effect.succeed(Verdict.continue)
})`,
    says: ["AtStage<\"rcpt\"", ...ofMessage]
  },
  // A code outside its class.
  { code: `Verdict.reject({ code: "451", text: "no" })`, says: ["\"451\"", "From500To559"] },
  { code: `Verdict.reject({ code: "560", text: "no" })`, says: ["\"560\"", "From500To559"] },
  { code: `Verdict.tempFail({ code: "550", text: "no" })`, says: ["\"550\"", "From400To459"] },
  { code: `Verdict.reject({ enhanced: "4.7.1", text: "no" })`, says: ["\"4.7.1\"", "`5.${bigint}.${bigint}`"] },
  // Failures that nobody handles.
  { code: `MilterServer.layer(failing)`, says: unhandled },
  { code: `MilterServer.layerConfig(failing)`, says: unhandled },
  { code: `MilterTest.message(failing, message)`, says: unhandled },
  { code: `MilterTest.run(failing, (mta) => mta.sendMessage(message))`, says: unhandled },
  {
    code: `class Key extends Milter.Service<Key>()("Key") {}
export const layer = Milter.layer(Key, failing)`,
    says: unhandled
  },
  // A stage that does not exist.
  { code: `Milter.make("x").on({ recipient: () => Effect.succeed(Verdict.continue) })`, says: ["'recipient'"] }
]

/** Names, each at the place where an editor would be asked about it: in front of `^`, and a text that it shows. */
const hovers: ReadonlyArray<readonly [code: string, shows: string]> = [
  [`MilterTest.message^(Milter.make("x").on({}), message)`, "Sends one message"],
  [`Milter.make("x").on({}).pipe(MilterTest.message^(message))`, "Sends one message"],
  [`MilterTest.run^(Milter.make("x").on({}), (mta) => mta.sendMessage(message))`, "Serves the filter in memory"],
  [`MilterTest.session^`, "Plays a whole session"],
  [`MilterTest.replay^`, "Plays the MTA's side"],
  [`Milter.onFailure^(failing, () => Effect.succeed("pass" as const))`, "Handles the typed failures"],
  [`failing.pipe(Milter.onFailure^(() => Effect.succeed("pass" as const)))`, "Handles the typed failures"],
  [`Milter.when^(failing, { mail: () => true })`, "Limits a filter"],
  [`failing.pipe(Milter.when^({ mail: () => true }))`, "Limits a filter"],
  [`Milter.delayReject^(failing, { at: "rcpt" })`, "Delays a reject"],
  [`Milter.circuitBreaker^(failing, { failures: 1, openFor: 1, whileOpen: "pass" })`, "Stops calling a filter"],
  [`Milter.make^("x")`, "Begins a filter"],
  [`Milter.make^("x", {})`, "Begins a filter"],
  [`Message.make^("x")`, "Begins a filter of whole messages"],
  ...([
    ["connect", "A client has connected"],
    ["helo", "HELO or EHLO"],
    ["mail", "MAIL FROM"],
    ["rcpt", "RCPT TO"],
    ["data", "DATA"],
    ["header", "One header field"],
    ["endOfHeaders", "The empty line"],
    ["body", "A piece of the body"],
    ["endOfMessage", "The whole message has been seen"],
    ["unknown", "An SMTP command"]
  ] as const).flatMap(([stage, shows]) =>
    [
      [`Milter.make("x").on({ ${stage}^: () => Effect.succeed(Verdict.continue) })`, shows],
      [`Milter.make("x").on({}, { ${stage}^: () => Effect.void })`, shows]
    ] as const
  ),
  [
    `Milter.make("x", { rejectedRecipients: true }).on({}, { rejectedRecipient^: () => Effect.void })`,
    "that the MTA has refused itself"
  ],
  ...(["connect", "helo", "mail", "rcpt", "endOfHeaders"] as const).map((stage) =>
    [
      `Message.make("x").on({ ${stage}^: () => Effect.succeed(Verdict.continue), document: () => Effect.succeed(Verdict.continue) })`,
      ""
    ] as const
  ),
  [
    `Message.make("x").on({ document^: () => Effect.succeed(Verdict.continue) })`,
    "The whole message, to read and to edit"
  ]
]

// In the repository, so that the package finds itself by name.
const folder = ".messages"
const directory = path.join(root, folder)
const fileOf = (kind: "mistake" | "hover", index: number): string => `${kind}${index}.ts`

const compilerOptions = { noEmit: true, types: ["node"], noUnusedLocals: false, noUnusedParameters: false }

const write = (): void => {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
  const options = { extends: "../tsconfig.base.json", include: ["mistake*.ts"], compilerOptions }
  writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(options))
  writeFileSync(path.join(directory, "common.ts"), imports)
  const names = "Effect, failing, Message, message, Milter, MilterServer, MilterTest, Verdict"
  const header = `import { ${names} } from "./common.ts"\n`
  for (const [index, { code }] of mistakes.entries()) {
    writeFileSync(path.join(directory, fileOf("mistake", index)), `${header}${code}\n`)
  }
  for (const [index, [code]] of hovers.entries()) {
    writeFileSync(path.join(directory, fileOf("hover", index)), `${header}${code.replace("^", "")}\n`)
  }
}

/** The messages of each file: the first line and the last of each. */
const compile = (
  compiler: string
): { readonly version: string; readonly messages: ReadonlyMap<string, ReadonlyArray<string>> } => {
  const tsc = path.join(root, "node_modules", compiler, "bin/tsc")
  const run = (...args: ReadonlyArray<string>): string =>
    spawnSync(process.execPath, [tsc, ...args], { cwd: root, encoding: "utf8" }).stdout
  const messages = new Map<string, Array<string>>()
  let lines: Array<string> = []
  let last = 0
  for (const line of run("-p", folder, "--pretty", "false").split("\n").filter((line) => line !== "")) {
    if (line.startsWith(" ")) lines[last] = line
    else {
      const name = /^\.messages\/(\w+\.ts)\(/.exec(line)?.[1] ?? line
      lines = messages.get(name) ?? []
      messages.set(name, lines)
      last = lines.push(line)
    }
  }
  return { version: run("--version").trim(), messages }
}

const problemsOf = (compiler: string): ReadonlyArray<string> => {
  const { messages, version } = compile(compiler)
  const problems: Array<string> = []
  for (const [index, { code, says }] of mistakes.entries()) {
    const found = messages.get(fileOf("mistake", index)) ?? []
    if (found.some((line) => says.every((part) => line.includes(part)))) continue
    problems.push(
      `${version}: expected ${says.join(" ")}\n  for ${code}\n  found ${found.join("\n        ") || "no error"}`
    )
  }
  const ours = new Set(mistakes.map((_, index) => fileOf("mistake", index)))
  for (const [name, lines] of messages) if (!ours.has(name)) problems.push(`${version}: ${lines.join("\n")}`)
  return problems
}

/** What an editor shows. */
const hoverProblems = (): ReadonlyArray<string> => {
  const config = ts.getParsedCommandLineOfConfigFile(path.join(directory, "tsconfig.json"), {}, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: ({ messageText }) => {
      throw new Error(ts.flattenDiagnosticMessageText(messageText, "\n"))
    }
  })!
  const files = hovers.map((_, index) => path.join(directory, fileOf("hover", index)))
  const service = ts.createLanguageService({
    ...ts.sys,
    useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    getCompilationSettings: () => config.options,
    getScriptFileNames: () => files,
    getScriptVersion: () => "1",
    getScriptSnapshot: (file) => {
      const text = ts.sys.readFile(file)
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
    },
    getCurrentDirectory: () => directory,
    getDefaultLibFileName: (options) => ts.getDefaultLibFilePath(options)
  })
  return hovers.flatMap(([code, shows], index) => {
    const file = files[index]!
    const at = ts.sys.readFile(file)!.indexOf("\n") + code.indexOf("^")
    const shown = ts.displayPartsToString(service.getQuickInfoAtPosition(file, at)?.documentation)
    return shown !== "" && shown.includes(shows)
      ? []
      : [`hover: expected ${shows || "a text"}\n  for ${code}\n  found ${shown}`]
  })
}

const compilers = ["typescript", "typescript-6", "typescript-5"]

try {
  write()
  const problems = [...hoverProblems(), ...compilers.flatMap(problemsOf)]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else console.log(`messages: ${mistakes.length} mistakes with ${compilers.length} compilers, ${hovers.length} hovers`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
