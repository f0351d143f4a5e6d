"""What a model's retraining policy will do, in words."""

from platform_assets.answers import Answer
from platform_assets.reproduction import spec_of


def explain_policy(model: str) -> Answer:
    """What the retraining policy of the model's defs.yaml will do."""
    from platform_assets.science.retraining_policy import RetrainingPolicy

    policy = RetrainingPolicy.from_mapping(spec_of(model).retraining)
    return {"model": model, "retraining": policy.told()}, "\n".join([f"{model}:", *policy.told()])
