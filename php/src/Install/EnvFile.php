<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * The text of an .env file. Changing a variable leaves everything else as it is, comments and order
 * included; what Laravel's own Env::writeVariables does, without writing.
 */
final readonly class EnvFile
{
    public function __construct(public string $text) {}

    /**
     * A variable's value without its quotes, or null when there is no line for it.
     */
    public function value(string $name): ?string
    {
        // The first line counts: Laravel's repository is immutable.
        return preg_match('/^[ \t]*'.$name.'=(.*)$/m', $this->text, $matches) === 1
            ? preg_replace('/^(["\'])(.*)\1$/', '$2', trim($matches[1]))
            : null;
    }

    public function has(string $name): bool
    {
        return ! in_array($this->value($name), [null, ''], true);
    }

    /**
     * Names of variables that begin with `$prefix` and have a value.
     *
     * @return list<string>
     */
    public function names(string $prefix): array
    {
        preg_match_all('/^[ \t]*('.$prefix.'[A-Z0-9_]*)=/m', $this->text, $matches);

        return array_values(array_filter(array_unique($matches[1]), $this->has(...)));
    }

    /**
     * The variable with that value, in its old place if it has one.
     */
    public function with(string $name, string $value): self
    {
        $line = "{$name}=".self::quoted($value);

        if ($this->value($name) !== null) {
            return new self((string) preg_replace_callback('/^[ \t]*'.$name.'=.*$/m', static fn (): string => $line, $this->text, 1));
        }

        return new self(rtrim($this->text, "\n").($this->text === '' ? '' : "\n")."{$line}\n");
    }

    /**
     * The variables that are missing or empty, together at the end, below a blank line and a comment.
     *
     * @param  array<string, string>  $variables
     */
    public function withMissing(array $variables, string $comment = ''): self
    {
        $env = $this;
        $block = '';

        foreach ($variables as $name => $value) {
            if ($env->has($name)) {
                continue;
            }

            if ($env->value($name) !== null) {
                $env = $env->with($name, $value);
            } else {
                $block .= "{$name}=".self::quoted($value)."\n";
            }
        }

        if ($block === '') {
            return $env;
        }

        $text = rtrim($env->text, "\n");

        return new self(($text === '' ? '' : "{$text}\n\n").($comment === '' ? '' : "# {$comment}\n").$block);
    }

    /**
     * A line as it may be shown: a secret's length instead of the secret.
     */
    public static function masked(string $line): string
    {
        return (string) preg_replace_callback(
            '/^(.*?[A-Z0-9_]*(?:SECRET|PASSWORD|TOKEN|APP_KEY|PRIVATE|CREDENTIAL)[A-Z0-9_]*=)(?!"?\$\{)(.+)$/',
            static fn (array $matches): string => str_contains($matches[1], 'VITE_') || preg_match('/(FANFARE|REVERB|PUSHER)_APP_KEY=$/', $matches[1]) === 1
                ? $matches[0]
                : $matches[1].'('.strlen(trim($matches[2], '"\'')).' characters)',
            $line,
        );
    }

    private static function quoted(string $value): string
    {
        return preg_match('/\A[A-Za-z0-9_.\/:~-]*\z/', $value) === 1 ? $value : '"'.addcslashes($value, '"\\').'"';
    }
}
