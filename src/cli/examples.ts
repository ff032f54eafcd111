// Examples of commands whose help has none of its own. A test reads each of them as it would be typed.
import type { Command } from 'commander';

/** By the words of the command. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  'daemon stop': ['sallyport daemon stop --drain-timeout 5s'],
  'daemon restart': [
    'sallyport daemon restart --listen 127.0.0.1:8080    all else as it was started',
  ],
  'daemon log-level set': ['sallyport daemon log-level set proxy debug'],
  'settings get': ['sallyport settings get daemon.listen'],
  'settings unset': ['sallyport settings unset network.bypass'],
  'sandbox add': [
    'sallyport sandbox add my-sandbox',
    'sallyport sandbox add build-7 --listen 127.0.0.1:0    for clients that send no token',
    'sallyport sandbox add docs --kit docs-kit.yaml --phase install',
  ],
  'sandbox phase': ['sallyport sandbox phase docs runtime'],
  'sandbox rm': ['sallyport sandbox rm my-sandbox'],
  'sandbox token': ['sallyport sandbox token my-sandbox --rotate'],
  'ca export': ['sallyport ca export > sallyport-ca.pem'],
  'ca import': ['sallyport ca import org-ca.pem --passphrase-file passphrase.txt'],
  'secret set-custom': [
    'sbx secret set-custom --host api.example.com --env API_TOKEN < token.txt',
    'sbx secret set-custom --host "*.example.com" --env API_TOKEN --command "pass show api" --refresh 10m',
  ],
  'secret ls': ['sbx secret ls --sandbox my-sandbox'],
  'secret rm': [
    'sbx secret rm github',
    'sbx secret rm --registry ghcr.io',
    'sbx secret rm --env API_TOKEN --sandbox my-sandbox --force',
  ],
  'secret import': ['sbx secret import --all --dry-run', 'sbx secret import github'],
  'policy rm network': [
    'sbx policy rm network --resource ads.example.com',
    'sbx policy rm network --id 2d3c1f0e-4a73-4e05-bc9d-f2f9a4b50d67',
    'sbx policy rm network --sandbox my-sandbox --resource api.example.com',
  ],
  'policy rm filesystem': ['sbx policy rm filesystem --resource "~/.ssh/**"'],
  'policy ls': [
    'sbx policy ls my-sandbox',
    'sbx policy ls --source kit --include-inactive',
    'sbx policy ls --created-via added --wide',
    'sbx policy ls my-sandbox --format yaml',
  ],
  'policy inspect': ['sbx policy inspect default-ai-services', 'sbx policy inspect policy:local'],
  'policy check network': [
    'sbx policy check network api.example.com',
    'sbx policy check network --sandbox my-sandbox 10.1.2.3:22',
    'sbx policy check network https://api.github.com/repos/a/b --method DELETE',
  ],
  'policy check filesystem': ['sbx policy check filesystem --write ~/src/project'],
  'policy approval ls': ['sbx policy approval ls my-sandbox'],
  'policy approval inspect': ['sbx policy approval inspect network:KkN2...'],
  'policy log': [
    'sbx policy log my-sandbox',
    'sbx policy log --since 5m --decision deny --host "*.example.com"',
    'sbx policy log --follow',
  ],
  'policy lint': ['sbx policy lint', 'sbx policy lint policy.yaml'],
  'policy diff': ['sbx policy diff policy.yaml', 'sbx policy diff old.yaml new.yaml'],
  'policy replay': ['sbx policy replay --policy policy.yaml --since 7d'],
  'policy suggest': ['sbx policy suggest --since 1h > more.yaml'],
  'policy import': ['sbx policy import squid.conf --from squid -o policy.yaml'],
  'policy apply': ['sbx policy apply --dry-run policy.yaml', 'sbx policy apply policy.yaml'],
  'policy export': ['sbx policy export policy.yaml'],
  'policy init': ['sbx policy init balanced'],
  'policy set-default': ['sbx policy set-default balanced'],
  'audit verify': [
    'sallyport audit verify',
    'sallyport audit verify /backup/audit --public-key audit.pub.pem',
  ],
  'governance serve': ['sallyport governance serve --org my-org'],
  'governance token add': ['sallyport governance token add ann --role admin'],
  'governance token ls': ['sallyport governance token ls'],
  'governance token rm': ['sallyport governance token rm ann'],
  'governance sign': ['sallyport governance sign organization.json --key key.pem'],
};

/** @param path  the words of the command */
export function addExamples(command: Command, path: string): void {
  const lines = EXAMPLES[path] ?? [];
  if (lines.length === 0) return;
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`);
}
