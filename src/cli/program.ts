// The whole command line, put together. main.ts runs it; tests run it with a context of their own.
import { Command } from 'commander';
import { addAuditCommands } from './audit.ts';
import { addAuthorityCommands } from './ca.ts';
import { addCompletionCommand } from './completion.ts';
import type { Context } from './context.ts';
import { addDaemonCommands } from './daemon.ts';
import { addDemoCommand } from './demo.ts';
import { addEnvCommand } from './env.ts';
import { addExamples } from './examples.ts';
import { addGlobalOptions } from './globals.ts';
import { addGovernanceCommands } from './governance.ts';
import { addDocumentCommands } from './policy-apply.ts';
import { addApprovalCommands } from './policy-approval.ts';
import { addDiffCommand } from './policy-diff.ts';
import { addFilesystemCommands } from './policy-filesystem.ts';
import { addImportCommand } from './policy-import.ts';
import { addLintCommand } from './policy-lint.ts';
import { addListCommands } from './policy-list.ts';
import { addLogCommand } from './policy-log.ts';
import { addReplayCommand } from './policy-replay.ts';
import { addRuleCommands } from './policy-rules.ts';
import { addSetupCommands } from './policy-setup.ts';
import { addSuggestCommand } from './policy-suggest.ts';
import { addExplainCommand } from './policy-tools.ts';
import { addRunCommand } from './run.ts';
import { addSandboxCommands } from './sandbox.ts';
import { addSecretCommands } from './secret.ts';
import { addSettingCommands } from './settings.ts';

/** @returns the commands; errors are thrown, never exited on. */
export function createProgram(context: Context): Command {
  const program = new Command(context.program)
    .description('The guarded way out of a sandbox: an egress policy proxy.')
    .version(context.version, '-v, --version', 'print the version')
    .enablePositionalOptions() // What stands behind `run COMMAND` is the command's.
    .exitOverride()
    .configureOutput({
      writeOut: context.out,
      writeErr: context.err,
      outputError: (text, write) => write(text.replace(/^error: /, 'ERROR: ')),
    })
    .addHelpText(
      'after',
      `
Begin with:
  $ ${context.program} demo                                   see it work, without internet
  $ ${context.program} daemon start -d --policy balanced      run the proxy on 127.0.0.1:3128
  $ ${context.program} sandbox add my-sandbox                 get a proxy URL for a sandbox
  $ ${context.program} run -- npm ci                           run a command through the proxy
  $ ${context.program} policy allow network example.com       let it reach a host
  $ ${context.program} secret set github                      give it a credential it never holds
`,
    );
  addDaemonCommands(program, context);
  addSettingCommands(program, context);
  addSandboxCommands(program, context);
  addEnvCommand(program, context);
  addRunCommand(program, context);
  addAuthorityCommands(program, context);
  addSecretCommands(program, context);
  const policy = program.command('policy').description('what sandboxes may reach');
  addRuleCommands(policy, context);
  addListCommands(policy, context);
  addFilesystemCommands(policy, context);
  addApprovalCommands(policy, context);
  addLogCommand(policy, context);
  addExplainCommand(policy, context);
  addLintCommand(policy, context);
  addDiffCommand(policy, context);
  addReplayCommand(policy, context);
  addSuggestCommand(policy, context);
  addImportCommand(policy, context);
  addDocumentCommands(policy, context);
  addSetupCommands(policy, context);
  addAuditCommands(program, context);
  addGovernanceCommands(program, context);
  addDemoCommand(program, context);
  addCompletionCommand(program, context);
  addGlobalOptions(program, context);
  inheritSettings(program, context.program);
  eachCommand(program, '', addExamples);
  return program;
}

/** commander copies settings to sub-commands only when they are made after; ours are made before. */
function inheritSettings(command: Command, path: string): void {
  command.showHelpAfterError(`(see ${path} --help)`);
  for (const sub of command.commands) {
    sub.copyInheritedSettings(command);
    inheritSettings(sub, `${path} ${sub.name()}`);
  }
}

function eachCommand(
  command: Command,
  path: string,
  visit: (command: Command, path: string) => void,
): void {
  visit(command, path);
  for (const sub of command.commands) eachCommand(sub, `${path} ${sub.name()}`.trim(), visit);
}
