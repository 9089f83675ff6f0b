"""Examples that stand at the end of each help."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("sgpo demo",),
    "init": ("sgpo init", "sgpo init sgpo -o recipes/mine.toml"),
    "run": ("sgpo run recipes/mine.toml --dry-run", "sgpo run recipes/mine.toml", "sgpo run recipes/mine.toml --device cuda:1 --keep-going"),
    "preflight": ("sgpo preflight recipes/mine.toml",),
    "seed": (
        "sgpo seed prompts.jsonl --model Qwen/Qwen2.5-0.5B-Instruct -o responses",
        "sgpo seed HuggingFaceH4/ultrafeedback_binarized --source.split train_sft --source.limit 1000 --model models/mine",
        "sgpo seed prompts.jsonl --model openai:my-model --base-url http://localhost:8000/v1",
        "sgpo seed prompts.jsonl --model models/mine -o responses --part-range 3/8",
    ),
    "improve": ("sgpo improve responses -o improved", "sgpo improve responses --role improve --sampling.temperature 0.3"),
    "score-ppl": ("sgpo score-ppl improved -o scored", "sgpo score-ppl improved --reward-model models/reward"),
    "filter": (
        "sgpo filter scored -o filtered",
        'sgpo filter scored --what-if "ppl.k=1,1.5,3"',
        'sgpo filter scored --rule "short=improved_words < 400" --ppl.strategy quantile+ratio',
    ),
    "pair": ("sgpo pair filtered -o pairs", "sgpo pair filtered --kind examples", "sgpo filter scored | sgpo pair - | sgpo lint -"),
    "finish": ("sgpo finish responses",),
    "train": (
        "sgpo train pairs --model models/base -o models/next",
        "sgpo train examples --model models/base --objective sft -o models/improver",
        "sgpo train pairs --model models/base -o models/next --sharding fsdp --nodes 2 --main-address first:29500 --node-rank 0",
    ),
    "publish": (
        "sgpo publish pairs filtered org/my-pairs --tag v1 --dry-run",
        "sgpo publish org/my-pairs --run mine --tag v1 --public",
        "sgpo publish runs/mine/policy-1/model org/my-model --tag v1",
    ),
    "reproduce": ("sgpo reproduce hf://datasets/org/my-pairs@v1",),
    "ls": ("sgpo ls", "sgpo ls mine"),
    "sql": (
        'sgpo sql "SELECT dropped_by, count(*) FROM filtered GROUP BY ALL" filtered',
        'sgpo sql "SELECT round, avg(response_words) FROM scored GROUP BY ALL" --run mine',
        "sgpo sql --example waterfall filtered",
        'sgpo sql "FROM pairs" pairs -o pairs.csv',
    ),
    "inspect": ("sgpo inspect pairs", "sgpo filter scored | sgpo inspect - --rows 5", "sgpo inspect pairs --rows 1 --whole"),
    "diff": ("sgpo diff filtered stricter", "sgpo diff run-a run-b"),
    "check": ("sgpo check pairs runs/mine/policy-1/model",),
    "lint": ("sgpo lint pairs", "sgpo lint org/preferences --max-longer 0.8"),
    "health": ("sgpo health mine",),
    "report": ("sgpo report mine -o report.html", "sgpo report mine --against before"),
    "gc": ("sgpo gc", "sgpo gc --delete"),
    "evaluate answers": ("sgpo evaluate answers models/next --set alpaca_eval -o next.json",),
    "evaluate judge": (
        "sgpo evaluate judge next.json base.json --judge models/judge",
        "sgpo evaluate judge improved --judge openai:my-judge --prompt grade",
    ),
    "evaluate verdicts": ("sgpo evaluate verdicts verdicts", "sgpo evaluate verdicts verdicts others"),
    "evaluate people": ("sgpo evaluate people next.json base.json -o review.html",),
    "evaluate ifeval": ("sgpo evaluate ifeval answers.json",),
    "evaluate tasks": ("sgpo evaluate tasks models/next --tasks gsm8k,ifeval --chat",),
}
"""By the words of the command."""
