"""Which pretrained model should be fine-tuned on my data, and can a score tell beforehand?"""
