/** A filter that refuses one recipient and cannot store the mail of another: for what `status` prints. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

class ArchiveError extends Data.TaggedError("ArchiveError")<{ readonly message: string }> {}

export default Milter.make("archive").on({
  rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "eve" ? Verdict.reject() : Verdict.continue),
  endOfMessage: (_, { envelope: { recipients } }) =>
    recipients.some(({ recipient }) => recipient.localPart === "carol")
      ? Effect.fail(new ArchiveError({ message: "the archive is full" }))
      : Effect.succeed(Verdict.continue)
}).pipe(Milter.onFailure(() => Effect.succeed(Verdict.tempFail())))
